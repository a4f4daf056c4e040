"""What only HTTP/2 can say (field notes 11, 16)."""

import asyncio
import contextlib

import h2.config
import h2.connection
import h2.events
import pytest

from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World

from .attacking import HOST, denied


class Http2:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []

    def send(self, headers: list[tuple[str, str]], *, end: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=end)
        return stream

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def until(self, kind: type, stream: int | None = None):
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and stream in {None, getattr(event, "stream_id", None)}:
                        return event
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError(self.events)
                self.events += self.h2.receive_data(data)
                await self.flush()


async def http2(sandbox) -> Http2:
    connection = Http2(*await sandbox.open(HOST, 443, alpn=["h2"]))
    await connection.flush()
    return connection


def pseudo(**changed: str) -> list[tuple[str, str]]:
    headers = {"method": "GET", "scheme": "https", "authority": HOST, "path": "/"} | changed
    return [(f":{name}", value) for name, value in headers.items()]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (pseudo(authority="other.example.test"), "421"),
        ([*pseudo(), ("host", "other.example.test")], "421"),
        (pseudo(authority=f"user@{HOST}"), "421"),
        (pseudo(authority="1.1.1.1"), "403"),
        (pseudo(authority=f"{HOST}:444"), "421"),
        ([header for header in pseudo() if header[0] != ":authority"], "421"),
    ],
)
async def test_row_11_and_16_authority_per_stream(world: World, origin: Origin, headers, status: str) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    connection = await http2(sandbox)
    bad, good = connection.send(headers), connection.send(pseudo())
    await connection.flush()
    try:
        answer = await connection.until(h2.events.ResponseReceived, bad)
        assert dict(answer.headers)[":status"] == status
        answer = await connection.until(h2.events.ResponseReceived, good)
        assert dict(answer.headers)[":status"] == "200"
    except (EOFError, ConnectionError):
        print("the whole connection was ended")
    assert [seen.header(":authority") for seen in origin.seen] in ([HOST], [])
    await world.recorder.wait(lambda e: e.decision == "deny")
    connection.writer.close()


@pytest.mark.parametrize(
    "headers",
    [
        [*pseudo(method="CONNECT"), (":protocol", "websocket")],
        [(":method", "CONNECT"), (":authority", f"{HOST}:443")],
        [*pseudo(), ("x", "a\r\nInjected: yes")],
        [*pseudo(), ("x", "a\x00b")],
        [*pseudo(), ("x\r\ny", "a")],
        pseudo(path="/ HTTP/1.1\r\nInjected: yes"),
        pseudo(path="/a b"),
        pseudo(path=""),
        pseudo(method="GET / HTTP/1.1\r\nInjected: yes\r\nX:"),
        pseudo(scheme="ftp"),
        [*pseudo(), ("connection", "upgrade"), ("upgrade", "websocket")],
        [*pseudo(), ("transfer-encoding", "chunked")],
        [*pseudo(), ("content-length", "5"), ("content-length", "6")],
        [*pseudo(), *((f"x-{n}", "y") for n in range(400))],
        [*pseudo(), ("x", "y" * 100_000)],
    ],
)  # fmt: skip
async def test_row_16_http2_requests_that_no_http1_request_could_be(
    world: World, origin: Origin, headers
) -> None:
    """The upstream speaks HTTP/1.1 here, so anything that got through would show in its bytes."""
    plain_only = world.engine._means.upstream_tls
    make = plain_only.connection
    plain_only.connection = lambda host, _: make(host, [b"http/1.1"])
    sandbox = await world.sandbox()
    connection = await http2(sandbox)
    stream = connection.send(headers)
    await connection.flush()
    with contextlib.suppress(EOFError, ConnectionError):
        answer = await connection.until((h2.events.ResponseReceived, h2.events.StreamReset), stream)
        assert isinstance(answer, h2.events.StreamReset) or dict(answer.headers)[":status"] in {"400", "403"}
    await world.recorder.wait(lambda e: e.decision == "deny")
    assert bytes(origin.raw) == b""
    connection.writer.close()


async def test_row_16_rapid_resets_end_the_connection(world: World, origin: Origin) -> None:
    """CVE-2023-44487."""
    sandbox = await world.sandbox()
    connection = await http2(sandbox)
    with contextlib.suppress(EOFError, ConnectionError, h2.exceptions.ProtocolError):
        for _ in range(400):
            stream = connection.send(pseudo(method="POST"), end=False)
            connection.h2.reset_stream(stream, 8)
            await connection.flush()
        await connection.until(h2.events.ConnectionTerminated)
    event = await world.recorder.wait(lambda e: e.kind == "connection" and e.decision == "deny")
    assert "resets" in event.reason
    connection.writer.close()


async def test_row_16_a_continuation_flood_ends_the_connection(world: World) -> None:
    sandbox = await world.sandbox()
    connection = await http2(sandbox)
    await connection.until(h2.events.RemoteSettingsChanged)

    def frame(kind: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3) + bytes([kind, 0]) + (1).to_bytes(4) + payload

    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(10):
            connection.writer.write(frame(1, b"\x00\x01a\x01b"))
            while True:
                connection.writer.write(frame(9, b"\x00\x01a\x01b" * 100))
                await connection.writer.drain()
    await denied(world, "connection", host=HOST)

"""From HTTP/2 to HTTP/1.1: what was one request stays one request (field notes 15, 16)."""

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest

from airut_egress.testing.origin import Origin
from airut_egress.testing.world import Sandbox, World

HOST = "api.example.test"
SECOND = f"GET /secret HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@pytest.fixture
async def sandbox(world: World) -> Sandbox:
    """Its upstream speaks HTTP/1.1 only, and the rules allow one path."""
    tls = world.engine._means.upstream_tls
    make = tls.connection
    tls.connection = lambda host, _: make(host, [b"http/1.1"])
    return await world.sandbox(f"url_prefixes: [{{host: {HOST}, path: /ok}}]\n")


async def send(
    sandbox: Sandbox, *headers: tuple[str, str], data: tuple[bytes, ...] = (), method: str = "POST"
) -> str:
    """The status, or `reset` or `closed`."""
    reader, writer = await sandbox.open(HOST, 443, alpn=("h2",))
    config = h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
    client = h2.connection.H2Connection(config)
    client.initiate_connection()
    fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", "/ok"), *headers]
    client.send_headers(1, fields, end_stream=not data)
    writer.write(client.data_to_send())
    for number, part in enumerate(data):
        # By hand: the library would not send a body that is not as long as it was announced.
        last = number == len(data) - 1
        writer.write(len(part).to_bytes(3) + bytes([0, last]) + (1).to_bytes(4) + part)
        await asyncio.sleep(0.01)
    try:
        async with asyncio.timeout(2):
            while received := await reader.read(65536):
                for event in client.receive_data(received):
                    if isinstance(event, h2.events.ResponseReceived):
                        return dict(event.headers)[":status"]
                    if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                        return "reset"
    except TimeoutError:
        return "waiting"
    finally:
        writer.transport.abort()
    return "closed"


async def test_a_body_without_a_length_is_not_another_request(sandbox: Sandbox, origin: Origin) -> None:
    assert await send(sandbox, data=(SECOND,)) == "200"
    assert [(seen.target, seen.body) for seen in origin.seen] == [("/ok", SECOND)]
    assert origin.seen[0].header("transfer-encoding") == "chunked"


async def test_a_body_in_parts_and_one_with_a_length(sandbox: Sandbox, origin: Origin) -> None:
    assert await send(sandbox, data=(b"one", SECOND, b"")) == "200"
    assert await send(sandbox, ("content-length", str(len(SECOND))), data=(SECOND,)) == "200"
    assert [seen.body for seen in origin.seen] == [b"one" + SECOND, SECOND]


async def test_methods_that_rarely_have_a_body(sandbox: Sandbox, origin: Origin) -> None:
    for method in ("GET", "DELETE", "OPTIONS"):
        assert await send(sandbox, data=(SECOND,), method=method) == "200"
    assert [seen.target for seen in origin.seen] == ["/ok"] * 3


@pytest.mark.parametrize("length", ["0", "3", "1000", "-1", "0x3", "3, 3", "+3", "３"])
async def test_a_length_that_is_wrong(sandbox: Sandbox, origin: Origin, length: str) -> None:
    outcome = await send(sandbox, ("content-length", length), data=(SECOND,))
    assert outcome != "200"
    assert all(seen.target == "/ok" for seen in origin.seen)


async def test_a_length_without_a_body(sandbox: Sandbox, origin: Origin) -> None:
    await send(sandbox, ("content-length", "50"))
    assert await send(sandbox) == "200"
    assert all(seen.target == "/ok" for seen in origin.seen)

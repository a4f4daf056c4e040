"""What a hostile sandbox sends, against the real engine and an upstream that records every byte (field notes 1)."""

import asyncio
import contextlib
import json
import re
import ssl

import h2.config
import h2.connection
import h2.events
import pytest

from airut_egress.testing.clients import client, exchange, first_answer, parse_answer, request
from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World, bearer_credential

HOST = "api.example.test"
LEAF = f"Host: {HOST}\r\n"


async def denied(world: World, kind: str = "request", **expected: object):
    event = await world.recorder.wait(lambda e: e.kind == kind and e.decision in {"deny", "error"})
    assert {name: getattr(event, name) for name in expected} == expected
    return event


# -- where a connection goes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [22, 53, 8443, 25, 5432])
async def test_row_1_and_3_other_ports_are_reset_and_named(world: World, origin: Origin, port: int) -> None:
    sandbox = await world.sandbox()
    reader, _ = await asyncio.open_connection(sock=await sandbox.dial(HOST, port))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    await denied(world, "connection", reason="port", host=HOST, port=port)
    assert origin.connections == 0


@pytest.mark.parametrize("address", ["1.1.1.1", "127.0.0.1", "169.254.169.254", "10.0.0.1"])
async def test_row_2_an_address_is_never_a_name(world: World, origin: Origin, address: str) -> None:
    sandbox = await world.sandbox(f"domains: ['*.test', {HOST}]")
    # Even with a name that is allowed in the request.
    answer = await first_answer(
        sandbox, b"GET / HTTP/1.1\r\n" + LEAF.encode() + b"\r\n", name=address, port=80
    )
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "literal")
    await denied(world, reason="literal", port=80)
    assert origin.connections == 0


async def test_row_2_an_address_over_tls_is_refused_at_the_hello(world: World) -> None:
    sandbox = await world.sandbox()
    with pytest.raises(OSError):
        await sandbox.open("1.1.1.1", 443, server_name=HOST)
    await denied(world, "connection", reason="mismatch", host=HOST, port=443)


@pytest.mark.parametrize(
    "host",
    ["1.1.1.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0177.0.0.1", "127.1", "1.1.1.1:443"],
)
async def test_row_2_disguised_addresses_in_host(world: World, origin: Origin, host: str) -> None:
    sandbox = await world.sandbox()
    answer = await request(sandbox, host=host)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "literal")
    assert origin.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "other.example.test", "api.example.test.evil.test", "user@api.example.test", "api.example.test:444",
        "api.example.test:80", "api.example.test:", "api..example.test", "api.example.test,other.example.test",
        "api.example.test/", "api.example.test#x", "%61pi.example.test", "api.example.test:0443x", "", " ",
    ],
)  # fmt: skip
async def test_row_11_and_12_host_that_is_not_the_server_name(
    world: World, origin: Origin, host: str
) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    answer = await request(sandbox, host=host)
    if host == "":  # request() puts the name there
        assert answer.status == 200
        return
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (421, "mismatch")
    await denied(world, reason="mismatch", host=HOST)
    assert origin.connections == 0


@pytest.mark.parametrize("host", ["API.Example.Test", "api.example.test.", "api.example.test:443"])
async def test_row_12_other_spellings_of_the_name_are_the_name(
    world: World, origin: Origin, host: str
) -> None:
    sandbox = await world.sandbox()
    assert (await request(sandbox, host=host)).status == 200
    assert origin.seen[0].header("host") == HOST


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET https://other.example.test/ HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        "GET https://api.example.test/ HTTP/1.1\r\nHost: other.example.test\r\n\r\n",
        "GET http://other.example.test/ HTTP/1.1\r\nHost: other.example.test\r\n\r\n",
    ],
)
async def test_row_11_all_authorities_agree(world: World, origin: Origin, head: str) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    answer = await first_answer(sandbox, head.encode())
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (421, "mismatch")
    assert origin.connections == 0


async def test_an_absolute_target_goes_out_in_origin_form(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    assert (await request(sandbox, target=f"https://{HOST}/a/b?c")).status == 200
    assert origin.seen[0].target == "/a/b?c"


@pytest.mark.parametrize("server_name", ["other.example.test", "api.example.test.evil.test"])
async def test_row_11_a_foreign_server_name_is_refused(
    world: World, origin: Origin, server_name: str
) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    with pytest.raises(OSError, match=r"(?i)unrecognized"):
        await sandbox.open(HOST, 443, server_name=server_name)
    await denied(world, "connection", reason="mismatch", host=server_name, port=443)
    assert origin.connections == 0


async def test_row_11_nothing_follows_the_alert_of_a_refusal(world: World) -> None:
    """No part of a handshake, which would show a certificate for a name that was refused."""
    sandbox = await world.sandbox()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sandbox.ssl_context().wrap_bio(incoming, outgoing, server_hostname="other.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    reader, writer = await asyncio.open_connection(sock=await sandbox.dial("api.example.test", 443))
    writer.write(outgoing.read())
    async with asyncio.timeout(10):
        assert await reader.read() == b"\x15\x03\x03\x00\x02\x02\x70"
    writer.close()


async def test_row_19_no_server_name(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    context = sandbox.ssl_context()
    context.check_hostname = False
    with pytest.raises(OSError, match=r"(?i)unrecognized"):
        await asyncio.open_connection(sock=await sandbox.dial(HOST, 443), ssl=context, server_hostname="")
    await denied(world, "connection", reason="mismatch", host=HOST)


async def test_a_restarted_proxy_learns_the_name_from_the_client(world: World, origin: Origin) -> None:
    """The sandbox's resolver cache outlives the table of names; an address follows from its name."""
    sandbox = await world.sandbox("domains: ['*.example.test', plain.allowed.test]")
    first = sandbox.session.names
    sockets = [
        await sandbox.dial(HOST, 443),
        await sandbox.dial("plain.allowed.test", 80),
        await sandbox.dial(HOST, 443),
    ]
    assert first is sandbox.session.names
    sandbox.session.names = type(first)()
    del first
    await asyncio.sleep(0)
    tls = sandbox.ssl_context()
    for sock in sockets[:2]:
        sock.close()
    world.destinations.clear()

    def forgotten(name: str, port: int):
        sock = sandbox.expect(name, port)
        sandbox.session.names = type(sandbox.session.names)()
        return sock

    for name, port, server_name, works in [
        (HOST, 443, HOST, True), ("plain.allowed.test", 80, None, True), (HOST, 443, "other.example.test", False),
    ]:  # fmt: skip
        sock = forgotten(name, port)
        await asyncio.get_running_loop().sock_connect(sock, sandbox.address)
        extra = {"ssl": tls, "server_hostname": server_name} if server_name else {}
        with contextlib.nullcontext() if works else pytest.raises(OSError):
            reader, writer = await asyncio.open_connection(sock=sock, **extra)
            writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
    sockets[2].close()


# -- what is spoken --------------------------------------------------------------------------------------------

SMUGGLING = {
    "bare LF in the request line": b"GET / HTTP/1.1\nHost: api.example.test\r\n\r\n",
    "bare LF between headers": b"GET / HTTP/1.1\r\nHost: api.example.test\nX: y\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\n",
    "only bare LF": b"GET / HTTP/1.1\nHost: api.example.test\n\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: api.example.test\rX: y\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nX: a\r\n b\r\n\r\n",
    "obs-fold at the first header": b"GET / HTTP/1.1\r\n Host: api.example.test\r\n\r\n",
    "NUL in Host": b"GET / HTTP/1.1\r\nHost: api.example.test\x00\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nX: a\x00b\r\n\r\n",
    "control byte": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nX: a\x08b\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : api.example.test\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nX\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: api.example.test\r\n: x\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nHost: other.example.test\r\n\r\n",
    "CL and TE": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CL": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "two equal CL": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "list in CL": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4, 4\r\n\r\nabcd",
    "sign in CL": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: +4\r\n\r\nabcd",
    "underscore in CL": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 1_0\r\n\r\nabcdabcdab",
    "odd TE": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE twice": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "TE identity": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: identity\r\n\r\n",
    "TE with HTTP/1.0": b"POST / HTTP/1.0\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: api.example.test\r\n\r\n",
    "prior knowledge of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "tab for a space": b"GET\t/ HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "leading line break": b"\r\nGET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "binary": b"\x00\x01\x02\x03\x04\x05\x06\x07",
    "large head": b"GET / HTTP/1.1\r\nHost: api.example.test\r\n" + b"X: " + b"y" * 70_000,
    "many headers": b"GET / HTTP/1.1\r\nHost: api.example.test\r\n" + b"X: y\r\n" * 300 + b"\r\n",
    "CONNECT": b"CONNECT api.example.test:443 HTTP/1.1\r\nHost: api.example.test:443\r\n\r\n",
    "h2c": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "upgrade to something": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    "upgrade to two": b"GET / HTTP/1.1\r\nHost: api.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
    "upgrade by POST": b"POST / HTTP/1.1\r\nHost: api.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLING)
async def test_rows_15_17_19_what_is_not_plain_http_is_refused(
    world: World, origin: Origin, name: str
) -> None:
    sandbox = await world.sandbox()
    answer = await first_answer(sandbox, SMUGGLING[name])
    assert answer.status in {400, 403}, answer
    event = await world.recorder.wait(lambda e: e.decision == "deny")
    assert (event.host, event.port, event.reason.partition(":")[0]) == (HOST, 443, "protocol")
    assert bytes(origin.raw) == b""


BODIES = {
    "chunk size with sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size not hex": b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk without line break": b"5\r\nhelloX0\r\n\r\n",
    "bare LF in chunk size": b"5\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BODIES)
async def test_row_15_broken_chunks_never_become_a_second_request(
    world: World, origin: Origin, name: str
) -> None:
    sandbox = await world.sandbox()
    head = f"POST /first HTTP/1.1\r\n{LEAF}Transfer-Encoding: chunked\r\n\r\n".encode()
    await exchange(sandbox, head + BODIES[name] + b"GET /second HTTP/1.1\r\n" + LEAF.encode() + b"\r\n")
    assert [seen.target for seen in origin.seen] in ([], ["/first"])
    assert b"evil" not in bytes(origin.raw)


async def test_row_15_what_goes_out_is_written_anew(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    headers = "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nX-Kept:   two  words \r\n"
    assert (await request(sandbox, target="/%7euser//x?a=%2e", headers=headers)).status == 200
    head = bytes(origin.raw)
    assert head.startswith(b"GET /%7euser//x?a=%2e HTTP/1.1\r\nHost: api.example.test\r\n")
    assert b"X-Kept: two  words\r\n" in head
    for gone in (b"X-Hop", b"Keep-Alive", b"Proxy-Connection"):
        assert gone not in head


async def test_pipelined_requests_are_judged_one_by_one(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(f"url_prefixes: [{{host: {HOST}, path: /ok}}]")
    one = "GET /{} HTTP/1.1\r\n" + LEAF + "\r\n"
    last = f"GET /ok HTTP/1.1\r\n{LEAF}Connection: close\r\n\r\n"
    answer = await exchange(sandbox, (one.format("ok") + one.format("no") + last).encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"403", b"200"]
    assert [seen.target for seen in origin.seen] == ["/ok", "/ok"]


async def test_row_14_override_headers_do_not_undo_a_method_rule(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(f"url_prefixes: [{{host: {HOST}, path: /a, methods: [POST]}}]")
    assert (
        await request(
            sandbox,
            method="POST",
            target="/a",
            headers="X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n",
        )
    ).status == 200
    assert origin.seen[0].header("x-http-method-override") is None
    assert (await request(sandbox, method="DELETE", target="/a")).status == 403


async def test_row_13_an_ambiguous_path_does_not_match_a_path_rule(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(f"url_prefixes: [{{host: {HOST}, path: '/repo/*'}}]")
    for target in (
        "/repo/../admin",
        "/repo/%2e%2e/admin",
        "/repo/%2fadmin",
        "/repo//x",
        "/repo/..;/x",
        "/repo\\x",
    ):
        answer = await request(sandbox, target=target)
        assert answer.status == 403, target
    assert origin.connections == 0
    assert (await request(sandbox, target="/repo/x")).status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + b"\x01\xff\xff\xff" + b"a" * 70_000,
    ],
)
async def test_row_19_only_tls_on_443(world: World, origin: Origin, raw: bytes) -> None:
    sandbox = await world.sandbox()
    reader, writer = await asyncio.open_connection(sock=await sandbox.dial(HOST, 443))
    writer.write(raw)
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()
    await denied(world, "connection", host=HOST, port=443)


async def test_row_19_only_http_inside_of_tls(world: World) -> None:
    sandbox = await world.sandbox()
    with pytest.raises(OSError, match=r"(?i)application protocol"):
        await sandbox.open(HOST, 443, alpn=["smtp"])
    await denied(world, "connection", reason="protocol", host=HOST)


@pytest.mark.parametrize("asked", [False, True])
async def test_row_17_a_101_to_something_else_makes_no_tunnel(
    world: World, origin: Origin, asked: bool
) -> None:
    got = bytearray()

    async def take_over(reader, writer, _head) -> None:
        upgrade = b"tcp" if asked else b"websocket"
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\n\r\nTUNNEL" % upgrade
        )
        got.extend(await reader.read())

    origin.take_over = take_over
    sandbox = await world.sandbox()
    headers = (
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        if asked
        else ""
    )
    answer = await exchange(sandbox, f"GET / HTTP/1.1\r\n{LEAF}{headers}\r\nEXTRA".encode())
    assert b"TUNNEL" not in answer
    assert b"EXTRA" not in got
    await denied(world, reason="protocol", status=101)


# -- HTTP/2 ----------------------------------------------------------------------------------------------------


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


# -- credentials -------------------------------------------------------------------------------------------------


async def test_row_23_a_surrogate_for_another_host_is_refused(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']", credentials=[bearer_credential()])
    surrogate = sandbox.environment["API_KEY"]
    answer = await request(
        sandbox, name="other.example.test", headers=f"Authorization: Bearer {surrogate}\r\n"
    )
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
    assert origin.connections == 0
    await denied(world, reason="credential", host="other.example.test")


async def test_row_21_a_foreign_credential_does_not_go_out(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    assert (
        await request(sandbox, headers="X-Api-Key: attacker\r\nCookie: a=b\r\n", target="/?api_key=mine&a=1")
    ).status == 200
    assert b"attacker" not in bytes(origin.raw)
    assert (origin.seen[0].header("cookie"), origin.seen[0].target) == (None, "/?a=1")


async def test_rows_28_and_59_no_credential_over_plain_http(world: World, origin: Origin) -> None:
    credential = bearer_credential(scopes=("plain.allowed.test",))
    sandbox = await world.sandbox(credentials=[credential])
    headers = f"Authorization: Bearer {sandbox.environment['API_KEY']}\r\n"
    answer = await request(sandbox, name="plain.allowed.test", port=80, headers=headers)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
    assert origin.connections == 0


async def test_row_33_new_rules_cut_old_connections(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    reader, writer = await sandbox.open(HOST, 443)
    writer.write(f"GET / HTTP/1.1\r\n{LEAF}\r\n".encode())
    await reader.readuntil(b"upstream")
    from dataclasses import replace

    config = replace(sandbox.session.config, policy="domains: [else.test]")
    assert world.engine.open(config).token == sandbox.token
    with contextlib.suppress(OSError):
        assert await reader.read() == b""
    assert (await request(sandbox)).status == 403
    writer.close()


async def test_row_33_a_revoked_credential_is_worth_nothing(world: World, origin: Origin) -> None:
    first = bearer_credential()
    sandbox = await world.sandbox(credentials=[first])
    headers = f"Authorization: Bearer {sandbox.environment['API_KEY']}\r\n"
    world.engine.replace_credentials(sandbox.id, [bearer_credential("sk-ant-another0123456789abcdefgh")])
    assert (await request(sandbox, headers=headers)).status == 200
    assert origin.seen[0].header("authorization") == "Bearer sk-ant-another0123456789abcdefgh"
    world.engine.replace_credentials(sandbox.id, [])
    answer = await request(sandbox, headers=headers)
    assert first.value.reveal().encode() not in bytes(origin.raw)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")


# -- exhaustion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("two", [False, True])
async def test_row_35_a_denied_upload_is_answered_and_not_read(
    world: World, origin: Origin, two: bool
) -> None:
    sandbox = await world.sandbox("domains: [else.test]")
    sent = 0

    async def parts():
        nonlocal sent
        for _ in range(4096):
            sent += 65536
            yield b"x" * 65536

    async with client(sandbox, http2=two) as http:
        try:
            answer = await http.post("https://api.example.test/", content=parts())
            assert answer.status_code == 403
        except Exception as error:  # what a client makes of a reset while it sends is its own affair
            print(repr(error))
    assert sent < 32 * 1024 * 1024
    await denied(world, reason="host", bytes_out=0)


async def test_row_35_the_answer_to_a_denied_upload_arrives(world: World) -> None:
    sandbox = await world.sandbox("domains: [else.test]")
    reader, writer = await sandbox.open(HOST, 443)
    writer.write(f"POST / HTTP/1.1\r\n{LEAF}Content-Length: 100000000\r\n\r\n".encode() + b"x" * 100_000)
    answer = parse_answer(await reader.read())
    assert answer.status == 403
    assert b"connection: close" in answer.head.lower()
    writer.close()


async def test_row_35_too_many_connections_are_reset(world: World) -> None:
    from dataclasses import replace

    world.engine._settings = replace(world.engine._settings, max_connections=5)
    sandbox = await world.sandbox()
    kept = [await sandbox.dial(HOST, 443) for _ in range(5)]
    while len(sandbox.session.connections) < 5:
        await asyncio.sleep(0.01)
    reader, _ = await asyncio.open_connection(sock=await sandbox.dial(HOST, 443))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    await denied(world, "connection", reason="connections", host=HOST)
    for sock in kept:
        sock.close()


async def test_row_37_hostile_text_is_cut_and_kept_as_data(world: World) -> None:
    sandbox = await world.sandbox("domains: [else.test]")
    await request(sandbox, target="/\x1b[31m<script>".replace("\x1b", "%1b") + "a" * 10_000, method="A" * 100)
    event = await denied(world)
    assert len(event.path) <= 2048
    assert len(event.method) <= 32


async def test_row_32_sessions_do_not_see_each_other(world: World, origin: Origin) -> None:
    one = await world.sandbox(credentials=[bearer_credential()])
    two = await world.sandbox(credentials=[bearer_credential("sk-ant-second0123456789abcdefgh")])
    assert one.environment["API_KEY"] != two.environment["API_KEY"]
    answer = await request(two, headers=f"Authorization: Bearer {one.environment['API_KEY']}\r\n")
    assert answer.status in {200, 403}
    assert b"REAL" not in bytes(origin.raw)
    assert Answer

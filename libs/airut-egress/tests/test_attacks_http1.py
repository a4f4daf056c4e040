"""What is no plain HTTP/1, or could be read in two ways (field notes 13-15, 17, 19)."""

import asyncio
import contextlib
import re

import pytest

from airut_egress.testing.clients import exchange, first_answer, request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World

from .attacking import HOST, LEAF, denied

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

"""The tunnel leads to one place only."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from airut_sandbox.connect_to import open_tunnel


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def ask(proxy: str, head: bytes, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rpartition(":")[2]))
    async with asyncio.timeout(10):
        writer.write(head + b"\r\n\r\n" + body)
        writer.write_eof()
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_connects_the_named_host(echo: str) -> None:
    async with open_tunnel("git.demo.example:443", echo) as proxy:
        answer = await ask(proxy, b"CONNECT git.demo.example:443 HTTP/1.1\r\nHost: x", b"hello")
    assert answer == b"HTTP/1.1 200 Connected\r\n\r\nHELLO"


@pytest.mark.parametrize(
    "head",
    [b"CONNECT other.example:443 HTTP/1.1", b"CONNECT git.demo.example:22 HTTP/1.1", b"GET / HTTP/1.1", b""],
)
async def test_row_7_nothing_else_is_reached_through_it(echo: str, head: bytes) -> None:
    async with open_tunnel("git.demo.example:443", echo) as proxy:
        assert (await ask(proxy, head)).startswith(b"HTTP/1.1 403")


async def test_a_closed_upstream_ends_the_connection(unused_tcp_port: int) -> None:
    async with open_tunnel("git.demo.example:443", f"127.0.0.1:{unused_tcp_port}") as proxy:
        assert await ask(proxy, b"CONNECT git.demo.example:443 HTTP/1.1") == b""


async def test_endless_heads_are_cut(echo: str) -> None:
    async with open_tunnel("git.demo.example:443", echo) as proxy:
        assert await ask(proxy, b"CONNECT " + b"x" * 100_000) == b""

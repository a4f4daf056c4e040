"""Clients that believe they are inside a sandbox."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from .world import Sandbox


@dataclass(frozen=True)
class RawAnswer:
    """An HTTP/1 answer as it came."""

    status: int
    head: bytes
    body: bytes


async def exchange(
    sandbox: Sandbox, data: bytes, *, name: str = "api.example.test", port: int = 443, eof: bool = False
) -> bytes:
    """Send bytes over one connection and return what comes back until it is closed."""
    reader, writer = await sandbox.open(name, port)
    try:
        writer.write(data)
        await writer.drain()
        if eof:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except OSError:
        return b""
    finally:
        writer.transport.abort()


async def first_answer(
    sandbox: Sandbox, data: bytes, *, name: str = "api.example.test", port: int = 443
) -> RawAnswer:
    """Send bytes and return the first answer, which has a length or ends the connection."""
    reader, writer = await sandbox.open(name, port)
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            return parse_answer(head + await reader.readexactly(length))
    except (OSError, asyncio.IncompleteReadError):
        return RawAnswer(0, b"", b"")
    finally:
        writer.transport.abort()


async def request(
    sandbox: Sandbox,
    *,
    name: str = "api.example.test",
    port: int = 443,
    method: str = "GET",
    target: str = "/",
    host: str | None = None,
    headers: str = "",
    body: bytes = b"",
) -> RawAnswer:
    """One HTTP/1.1 request on a connection of its own; `headers` are raw lines."""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n{headers}\r\n"
    answer = await exchange(sandbox, head.encode("latin-1") + body, name=name, port=port)
    return parse_answer(answer)


def parse_answer(answer: bytes) -> RawAnswer:
    """Split an answer; status 0 when the connection ended without one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1]) if head.startswith(b"HTTP/1") else 0
    return RawAnswer(status, head, body)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._writer.write(buffer)
        await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        return self._writer.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        sock = await self._sandbox.dial(host, port)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Stream(*await asyncio.open_connection(sock=sock))


class SandboxTransport(httpx.AsyncBaseTransport):
    """httpx, dialling through a sandbox's listener."""

    def __init__(self, sandbox: Sandbox, *, http2: bool = False) -> None:
        alpn = ("h2", "http/1.1") if http2 else ("http/1.1",)
        self._inner = httpx.AsyncHTTPTransport(verify=sandbox.ssl_context(alpn), http2=http2)
        self._inner._pool = httpcore.AsyncConnectionPool(
            ssl_context=sandbox.ssl_context(alpn), http2=http2, network_backend=_Backend(sandbox)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._inner.aclose()


def client(sandbox: Sandbox, *, http2: bool = False) -> httpx.AsyncClient:
    """An httpx client; it trusts the engine's authority alone and reads no proxy variables."""
    return httpx.AsyncClient(transport=SandboxTransport(sandbox, http2=http2), timeout=10, trust_env=False)

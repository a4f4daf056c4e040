"""Dial an explicit address for a name, as `curl --connect-to` does, for programs that only know HTTP proxies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

_log = structlog.get_logger()
_MAX_HEAD_BYTES = 16 * 1024
_CONNECT_SECONDS = 15


@contextlib.asynccontextmanager
async def open_tunnel(authority: str, address: str) -> AsyncIterator[str]:
    """The URL of a proxy on loopback that connects `authority` (`host:port`), and nothing else, to `address`.

    TLS runs through it end to end, so the certificate still has to prove the name.
    """
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, authority, address),
        "127.0.0.1",
        0,
        limit=_MAX_HEAD_BYTES,
    )
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, address: str
) -> None:
    try:
        await _tunnel(reader, writer, authority, address)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
        # git says what went wrong, and closes first when nothing did.
        _log.debug("tunnel_ended", authority=authority, reason=str(error))
    finally:
        writer.close()


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, address: str
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if head.split(b" ", 2)[:2] != [b"CONNECT", authority.encode()]:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(_CONNECT_SECONDS):
        upstream, upstream_writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream, writer))
    finally:
        upstream_writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(64 * 1024):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()

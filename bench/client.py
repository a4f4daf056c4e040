"""Load on a proxy from this process: HTTP/1, HTTP/2, new connections, and large bodies."""

import asyncio
import itertools
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import h2.config
import h2.connection
import h2.events

from bench.origin import BODY, NAME, TRANSFER_BYTES

Kind = Literal["http", "https", "h2"]
GET = f"GET /v1/thing HTTP/1.1\r\nHost: {NAME}\r\nAccept: */*\r\n\r\n".encode()
_PIECE = b"x" * (256 * 1024)


@dataclass(frozen=True)
class Target:
    """Where to send requests."""

    port: int
    tls: ssl.SSLContext | None = None
    pid: int = 0
    """Of the proxy process; 0 when there is none."""


def insecure() -> ssl.SSLContext:
    """Trusts everybody: what a baseline's certificate says plays no part."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def requests(targets: Sequence[Target], kind: Kind, *, clients: int, seconds: float) -> list[float]:
    """Kept-alive requests; milliseconds of each. So many connections, spread over the targets, with one request at a
    time each; of HTTP/2, so many streams of one connection to the first."""
    latencies: list[float] = []
    until = time.monotonic() + seconds
    if kind == "h2":
        await _streams(targets[0], clients, until, latencies)
    else:
        ways = itertools.islice(itertools.cycle(targets), clients)
        await asyncio.gather(*(_keep_alive(target, until, latencies) for target in ways))
    return latencies


async def connections(target: Target, *, clients: int, seconds: float) -> list[float]:
    """New connections, each with a TLS handshake and one request; no session is resumed. Milliseconds of each."""
    latencies: list[float] = []
    until = time.monotonic() + seconds

    async def run() -> None:
        while time.monotonic() < until:
            began = time.perf_counter()
            reader, writer = await _open(target)
            await _ask(reader, writer)
            latencies.append((time.perf_counter() - began) * 1000)
            writer.transport.abort()

    await asyncio.gather(*(run() for _ in range(clients)))
    return latencies


async def download(target: Target) -> None:
    """Read `TRANSFER_BYTES` from the upstream."""
    reader, writer = await _open(target)
    writer.write(f"GET /down HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    left = TRANSFER_BYTES
    while left:
        data = await reader.read(256 * 1024)
        if not data:
            raise EOFError("the answer ended early")
        left -= len(data)
    writer.transport.abort()


async def upload(target: Target) -> None:
    """Send `TRANSFER_BYTES` to the upstream, and read its answer."""
    reader, writer = await _open(target)
    writer.write(f"POST /up HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {TRANSFER_BYTES}\r\n\r\n".encode())
    for _ in range(TRANSFER_BYTES // len(_PIECE)):
        writer.write(_PIECE)
        await writer.drain()
    await _answer(reader)
    writer.transport.abort()


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = NAME if target.tls is not None else None
    return await asyncio.open_connection("127.0.0.1", target.port, ssl=target.tls, server_hostname=name)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GET)
    await _answer(reader)


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ValueError(f"the proxy answered {head!r}")
    await reader.readexactly(len(BODY))


async def _keep_alive(target: Target, until: float, latencies: list[float]) -> None:
    reader, writer = await _open(target)
    while time.monotonic() < until:
        began = time.perf_counter()
        await _ask(reader, writer)
        latencies.append((time.perf_counter() - began) * 1000)
    writer.transport.abort()


async def _streams(target: Target, streams: int, until: float, latencies: list[float]) -> None:
    """One HTTP/2 connection with so many requests under way at a time."""
    reader, writer = await _open(target)
    connection = h2.connection.H2Connection(h2.config.H2Configuration())
    connection.initiate_connection()
    began: dict[int, float] = {}

    def ask() -> None:
        stream = connection.get_next_available_stream_id()
        began[stream] = time.perf_counter()
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", "/v1/thing")]
        connection.send_headers(stream, headers, end_stream=True)

    for _ in range(streams):
        ask()
    while began:
        writer.write(connection.data_to_send())
        data = await reader.read(256 * 1024)
        if not data:
            raise EOFError("the connection ended early")
        for event in connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived() if (b":status", b"200") not in (event.headers or ()):
                    raise ValueError(f"the proxy answered {event.headers}")
                case h2.events.DataReceived() if event.stream_id is not None:
                    connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                case h2.events.StreamEnded() if event.stream_id is not None:
                    latencies.append((time.perf_counter() - began.pop(event.stream_id)) * 1000)
                    if time.monotonic() < until:
                        ask()
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise ValueError(f"the proxy ended a stream: {event}")
    writer.transport.abort()

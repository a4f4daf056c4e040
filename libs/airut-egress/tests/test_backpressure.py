"""Field notes 35: one sandbox cannot fill the memory that all share, in whatever way it does not read or wait."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
import trustme

from airut_egress.engine import EngineSettings
from airut_egress.interception.backpressure import MAX_WAITING_BYTES
from airut_egress.testing.world import Sandbox, World, running_world

NAME = "api.example.test"
MIB = 1024 * 1024
#: Backlog, socket buffers on both sides, and TLS records under way.
PATIENCE = MAX_WAITING_BYTES + 16 * MIB
HEAD = f"Host: {NAME}\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """TLS, with whatever protocol and manners a test wants."""

    def __init__(self) -> None:
        self.handle: Handler = self._hold
        self.protocol = "http/1.1"
        self.sent = 0

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def send_much(self, writer: asyncio.StreamWriter, total: int) -> None:
        """Send until nobody takes it any more."""
        while self.sent < total:
            writer.write(b"x" * 65536)
            await writer.drain()
            self.sent += 65536


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def serving(upstream: Upstream, authority: trustme.CA) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(context)
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await upstream.handle(reader, writer)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()

    def alpn(_sock: Any, _name: Any, _context: Any) -> None:
        context.set_alpn_protocols([upstream.protocol])

    context.sni_callback = alpn
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def world(upstream: Upstream, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[World]:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serving(upstream, authority) as address:
        settings = EngineSettings(connect_to={NAME: address}, ca_file=tmp_path / "ca.pem")
        async with running_world(tmp_path / "state", settings) as world:
            yield world


@pytest.fixture
async def sandbox(world: World) -> Sandbox:
    return await world.sandbox()


async def accepted(writer: asyncio.StreamWriter, block: bytes, limit: int) -> int:
    """How much is taken from us before nobody takes more for a second, or the connection ends."""
    total = 0
    with contextlib.suppress(TimeoutError, OSError):
        while total < limit:
            writer.write(block)
            async with asyncio.timeout(1):
                await writer.drain()
            total += len(block)
    return total


async def test_an_upload_waits_for_the_upstream_to_be_dialled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(deaf.getsockname())
        settings = EngineSettings(connect_to={NAME: f"127.0.0.1:{deaf.getsockname()[1]}"})
        async with running_world(tmp_path / "state", settings) as world:
            _, writer = await (await world.sandbox()).open(NAME, 443)
            writer.write(f"POST / HTTP/1.1\r\n{HEAD}Content-Length: {200 * MIB}\r\n\r\n".encode())
            assert await accepted(writer, b"y" * 65536, 100 * MIB) < PATIENCE
            writer.transport.abort()
        for filler in fillers:
            filler.close()


async def test_requests_ahead_of_their_turn_wait(sandbox: Sandbox) -> None:
    _, writer = await sandbox.open(NAME, 443)
    request = f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode()
    assert await accepted(writer, request * 2000, 100 * MIB) < PATIENCE
    writer.transport.abort()


async def test_a_closed_window_holds_the_upstream_back(sandbox: Sandbox, upstream: Upstream) -> None:
    """Field notes 16."""
    stalled = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        sending = asyncio.create_task(upstream.send_much(writer, 200 * MIB))
        before = -1
        while before != upstream.sent or not before:
            before = upstream.sent
            await asyncio.sleep(1)
        stalled.set()
        await sending

    upstream.handle = answer
    reader, writer = await sandbox.open(NAME, 443, alpn=("h2",))
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    _ask(client, 1, end=True)
    writer.write(client.data_to_send())
    async with asyncio.timeout(20):
        await stalled.wait()
    assert upstream.sent < PATIENCE

    # It goes on as soon as the sandbox opens the window.
    got = 0
    client.increment_flow_control_window(64 * MIB)
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 64 * MIB})
    writer.write(client.data_to_send())
    async with asyncio.timeout(20):
        while got < 32 * MIB:
            for event in client.receive_data(await reader.read(65536)):
                if isinstance(event, h2.events.DataReceived):
                    got += len(event.data)
            writer.write(client.data_to_send())
    writer.transport.abort()


async def test_an_upstream_with_a_closed_window_holds_an_upload_back(
    sandbox: Sandbox, upstream: Upstream
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        writer.write(server.data_to_send())
        while data := await reader.read(65536):
            server.receive_data(data)  # and nothing is acknowledged
            writer.write(server.data_to_send())

    upstream.handle, upstream.protocol = answer, "h2"
    _, writer = await sandbox.open(NAME, 443, alpn=("h2",))
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    _ask(client, 1, end=False)
    writer.write(client.data_to_send())
    # A frame by hand: the library would mind our window, which the proxy opens as far as it goes.
    frame = (16384).to_bytes(3) + b"\0\0" + (1).to_bytes(4) + b"z" * 16384
    assert await accepted(writer, frame * 4, 100 * MIB) < PATIENCE
    writer.transport.abort()


def _ask(client: h2.connection.H2Connection, stream: int, *, end: bool) -> None:
    method = "GET" if end else "POST"
    fields = [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", "/")]
    client.send_headers(stream, fields, end_stream=end)

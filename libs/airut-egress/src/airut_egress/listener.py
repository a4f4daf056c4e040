"""The sockets inside a sandbox's network namespace: TCP connections, DNS questions, attempts over IPv6."""

import asyncio
import contextlib
import socket
import struct
import time
from typing import Any, Final, cast

import structlog

from . import dns
from .destination import DestinationLookup, original_destination_6
from .interception.handler import Means, SandboxConnection
from .session import Decided, Session

_READ_LIMIT: Final = 64 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_QUESTIONS_PER_SECOND: Final = 50.0
_QUESTION_BURST: Final = 500.0

log = structlog.get_logger()


class SandboxListener:
    """Accepts what comes out of one sandbox, until it is closed."""

    def __init__(
        self, session: Session, means: Means, *, lookup: DestinationLookup, max_connections: int
    ) -> None:
        self._session = session
        self._means = means
        self._lookup = lookup
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._server6: asyncio.Server | None = None
        self._questions: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None) -> None:
        """Take the sockets over and begin."""
        loop = asyncio.get_running_loop()
        tcp.setblocking(False)  # noqa: FBT003
        udp.setblocking(False)  # noqa: FBT003
        self._questions, _ = await loop.create_datagram_endpoint(lambda: _Questions(self._session), sock=udp)
        self._server = await asyncio.start_server(self._accept, sock=tcp, limit=_READ_LIMIT, backlog=1024)
        if tcp6 is not None:
            tcp6.setblocking(False)  # noqa: FBT003
            self._server6 = await asyncio.start_server(self._refuse_ipv6, sock=tcp6, backlog=1024)

    def use(self, means: Means) -> None:
        """Work with these from the next connection on."""
        self._means = means

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        if self._server6 is not None:
            self._server6.close()
        if self._questions is not None:
            self._questions.abort()
        self._session.cut("the session is over")
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=2)
            for task in late:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            connection = self._admit(reader, writer)
            if connection is not None:
                await connection.run()
        except Exception as error:
            # Nothing was decided, so nothing goes on.
            log.warning("connection_failed", error=type(error).__name__, sandbox=self._session.config.sandbox)
            log.debug("connection_traceback", exc_info=error)
        finally:
            self._tasks.discard(task)
            writer.close()

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> SandboxConnection | None:
        accepted = writer.get_extra_info("socket")
        obstacle = ""
        try:
            destination = self._lookup(accepted)
        except OSError:
            # It was not redirected: somebody inside spoke to our listener itself.
            destination, obstacle = accepted.getsockname()[:2], "literal"
        if self._session.closed:
            obstacle = "policy-changed"
        elif len(self._session.connections) >= self._max_connections:
            obstacle = "connections"
        elif destination[1] not in self._means.ports:
            obstacle = "port"
        if obstacle:
            self._reset(writer, destination, obstacle)
            return None
        # asyncio does it only for sockets that say which protocol they speak, and ours were handed over.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return SandboxConnection(
            reader, writer, session=self._session, destination=destination, means=self._means
        )

    async def _refuse_ipv6(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """No name of ours has an IPv6 address, so whatever is dialled there is a literal (field notes 2, 6)."""
        accepted = writer.get_extra_info("socket")
        try:
            destination = original_destination_6(accepted)
        except OSError:
            destination = accepted.getsockname()[:2]
        self._reset(writer, destination, "literal")

    def _reset(self, writer: asyncio.StreamWriter, destination: tuple[str, int], obstacle: str) -> None:
        """Refuse at once, in a way that the client sees (field notes 1)."""
        host = self._session.names.name_for(destination[0])
        if host is None:
            obstacle, host = "literal", destination[0]
        self._session.record("connection", "deny", obstacle, host=host, port=destination[1])
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()


class _Questions(asyncio.DatagramProtocol):
    """Answers DNS questions out of the session's own table; each is an event (field notes 4)."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tokens = _QUESTION_BURST
        self._refilled = time.monotonic()
        self._silent = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if not self._admit():
            return
        response, asked = dns.answer(data, self._session.names)
        decision: Decided = "info" if asked.outcome in {"answered", "empty"} else "deny"
        self._session.record("dns", decision, asked.outcome, method=asked.kind, host=asked.name, port=53)
        if response is not None:
            self._transport.sendto(response, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("dns_socket_error", error=type(exc).__name__)

    def _admit(self) -> bool:
        """A token bucket: a flood of questions is dropped, with one event at its beginning."""
        now = time.monotonic()
        self._tokens = min(_QUESTION_BURST, self._tokens + (now - self._refilled) * _QUESTIONS_PER_SECOND)
        self._refilled = now
        if self._tokens >= 1:
            self._tokens -= 1
            self._silent = self._silent and self._tokens < _QUESTION_BURST / 2
            return True
        if not self._silent:
            self._silent = True
            self._session.record("dns", "deny", "rate", port=53)
        return False

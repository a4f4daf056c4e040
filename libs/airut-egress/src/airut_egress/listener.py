"""The sockets inside a sandbox's network namespace: TCP connections, DNS questions, attempts over IPv6."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from . import dns
from .buckets import TokenBucket
from .destination import DestinationLookup, original_destination_6
from .interception.handler import Means, SandboxConnection, in_pool
from .session import Decided, Session

_READ_LIMIT: Final = 64 * 1024
_BACKLOG: Final = 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_QUESTIONS_PER_SECOND: Final = 50.0
_QUESTION_BURST: Final = 500.0
_BREATH_SECONDS: Final = 0.2
"""After an `accept` that failed: when descriptors are used up, the next one fails as well."""

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
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._questions: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None) -> None:
        """Take the sockets over and begin."""
        loop = asyncio.get_running_loop()
        udp.setblocking(False)  # noqa: FBT003
        self._questions, _ = await loop.create_datagram_endpoint(lambda: _Questions(self._session), sock=udp)
        self._listen(tcp, self._accept)
        if tcp6 is not None:
            self._listen(tcp6, self._refuse_ipv6)

    def use(self, means: Means, *, max_connections: int) -> None:
        """Work with these from the next connection on."""
        self._means = means
        self._max_connections = max_connections

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        if self._questions is not None:
            self._questions.abort()
        self._session.cut("the session is over")
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=2)
            for task in late:
                task.cancel()
        self._session.bursts.flush()

    def _listen(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        listener.setblocking(False)  # noqa: FBT003
        listener.listen(_BACKLOG)
        self._listeners.append(listener)
        self._accepting.append(self._spawn(self._accept_all(listener, take), "accept"))

    async def _accept_all(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        """One connection in a turn: asyncio's servers accept all that wait, before anybody else goes on."""
        loop = asyncio.get_running_loop()
        while True:
            await self._session.pace.take_turn()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("accept_failed", error=str(error), sandbox=self._session.config.sandbox)
                await asyncio.sleep(_BREATH_SECONDS)
                continue
            try:
                take(accepted)
            except Exception as error:  # noqa: BLE001 (whatever it is, the connection is closed)
                # Nothing was decided, so nothing goes on; the next one is another matter.
                accepted.close()
                self._log_failure(error)

    def _accept(self, accepted: socket.socket) -> None:
        obstacle = ""
        try:
            destination = self._lookup(accepted)
        except OSError:
            # It was not redirected: somebody inside spoke to our listener itself.
            destination, obstacle = _own_address(accepted), "literal"
        if self._session.closed:
            obstacle = "policy-changed"
        elif len(self._tasks) >= self._max_connections:
            obstacle = "connections"
        elif destination[1] not in self._means.ports:
            obstacle = "port"
        elif self._means.ports[destination[1]] == "https" and not in_pool(destination[0]):
            # Whatever name a ClientHello would bring, it is not the one that leads here (field notes 1, 2).
            obstacle = "literal"
        if obstacle:
            self._reset(accepted, destination, obstacle)
            return
        task = self._spawn(self._serve(accepted, destination), "connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket, destination: tuple[str, int]) -> None:
        try:
            # asyncio does it only for sockets that say which protocol they speak, and ours were handed over.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader, writer = await asyncio.open_connection(sock=accepted, limit=_READ_LIMIT)
        except OSError:
            accepted.close()  # whoever it was has gone
            return
        try:
            connection = SandboxConnection(
                reader, writer, session=self._session, destination=destination, means=self._means
            )
            await connection.run()
        except Exception as error:  # noqa: BLE001 (whatever it is, the connection ends)
            # Nothing was decided, so nothing goes on.
            self._log_failure(error)
        finally:
            writer.close()

    def _refuse_ipv6(self, accepted: socket.socket) -> None:
        """No name of ours has an IPv6 address, so whatever is dialled there is a literal (field notes 2, 6)."""
        try:
            destination = original_destination_6(accepted)
        except OSError:
            destination = _own_address(accepted)
        self._reset(accepted, destination, "literal")

    def _reset(self, accepted: socket.socket, destination: tuple[str, int], obstacle: str) -> None:
        """Refuse at once, in a way that the client sees (field notes 1)."""
        host = self._session.names.name_for(destination[0])
        if host is None and obstacle != "connections":
            obstacle = "literal"
        self._session.note_connection("deny", obstacle, host=host or destination[0], port=destination[1])
        with contextlib.suppress(OSError):
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        accepted.close()

    def _log_failure(self, error: Exception) -> None:
        log.warning("connection_failed", error=type(error).__name__, sandbox=self._session.config.sandbox)
        log.debug("connection_traceback", exc_info=error)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        name = f"{what} {self._session.config.sandbox}"
        return asyncio.get_running_loop().create_task(work, name=name)


def _own_address(accepted: socket.socket) -> tuple[str, int]:
    try:
        address, port = accepted.getsockname()[:2]
    except OSError:
        return "", 0  # it is gone already
    return address, port


class _Questions(asyncio.DatagramProtocol):
    """Answers DNS questions out of the session's own table; each is an event (field notes 4)."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bucket = TokenBucket(_QUESTIONS_PER_SECOND, burst=_QUESTION_BURST)
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
        """A flood of questions is dropped, with one event at its beginning."""
        if not self._bucket.wait_for(1, time.monotonic()):
            self._bucket.take(1)
            self._silent = self._silent and self._bucket.tokens < _QUESTION_BURST / 2
            return True
        if not self._silent:
            self._silent = True
            self._session.record("dns", "deny", "rate", port=53)
        return False

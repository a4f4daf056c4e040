"""The two sockets of a sandbox: connections are accepted and questions answered on them until they are closed."""

import asyncio
import errno
import socket
from typing import Final

import structlog

from .destination import DestinationLookup
from .dns import answer
from .interception.handler import HTTP_PORT, HTTPS_PORT, Means, SandboxConnection
from .session import Session

MAX_CONNECTIONS: Final = 256
"""Open at a time in one sandbox; more are closed at once (field notes 35)."""
_READ_BUFFER: Final = 256 * 1024
_MAX_QUERY_BYTES: Final = 4096
_PAUSE_SECONDS: Final = 0.1
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = structlog.get_logger()


class Listeners:
    """Serves one sandbox's sockets. What arrives here belongs to its session, whatever it says (field notes 32)."""

    def __init__(
        self,
        session: Session,
        tcp: socket.socket,
        udp: socket.socket,
        *,
        means: Means,
        lookup: DestinationLookup,
    ) -> None:
        self._session = session
        self._tcp = tcp
        self._udp = udp
        self._means = means
        self._lookup = lookup
        self._serving: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. The sockets are closed by `close`."""
        for listener in (self._tcp, self._udp):
            listener.setblocking(False)
        name = self._session.config.sandbox
        self._loops = [
            asyncio.create_task(self._accept(), name=f"accept {name}"),
            asyncio.create_task(self._answer(), name=f"dns {name}"),
        ]

    async def close(self) -> None:
        """Accept nothing more, cut what is open, and return when all of it is gone."""
        for task in (*self._loops, *self._serving):
            task.cancel()
        await asyncio.gather(*self._loops, *self._serving, return_exceptions=True)
        self._tcp.close()
        self._udp.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._tcp)
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    log.info("listener_ended", sandbox=self._session.config.sandbox, reason=error.strerror)
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._serving) >= MAX_CONNECTIONS:
                accepted.close()
                self._session.record("connection", "deny", "too-many-connections")
                continue
            task = loop.create_task(self._serve(accepted), name="sandbox connection")
            self._serving.add(task)
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("connection_failed", error=type(error).__name__)

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            destination = self._lookup(accepted)
        except OSError:
            accepted.close()
            self._session.record("connection", "error", "no-destination")
            return
        if destination[1] not in {HTTP_PORT, HTTPS_PORT}:
            accepted.close()
            host = self._session.names.name_for(destination[0]) or destination[0]
            self._session.record("connection", "deny", "port", host=host, port=destination[1])
            return
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await _streams(accepted)
        connection = SandboxConnection(
            reader, writer, session=self._session, destination=destination, means=self._means
        )
        await connection.run()

    async def _answer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                query, asker = await loop.sock_recvfrom(self._udp, _MAX_QUERY_BYTES)
                response, question = answer(query, self._session.names)
                if response is not None:
                    await loop.sock_sendto(self._udp, response, asker)
            except OSError as error:
                # An asker that is gone comes back as an error of the next call.
                if self._udp.fileno() < 0:
                    return
                log.debug("dns_socket", reason=error.strerror)
                await asyncio.sleep(0)
                continue
            decision = "info" if question.outcome in {"answered", "empty"} else "deny"
            self._session.record(
                "dns", decision, question.outcome, method=question.kind, host=question.name, port=53
            )


async def _streams(accepted: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_READ_BUFFER, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

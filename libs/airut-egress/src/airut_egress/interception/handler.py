"""One accepted connection of a sandbox: mitmproxy's layers, our hooks, and nothing open when either fails."""

import asyncio
import collections
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final, cast

import structlog
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http._hooks import HttpRequestHeadersHook, HttpRequestHook
from mitmproxy.proxy.server import ConnectionIO, LiveConnectionHandler

from airut_egress.addons import Bodies, Judge, Tls, Transit
from airut_egress.authority import Authority
from airut_egress.dns import POOL
from airut_egress.exchange import Exchange
from airut_egress.ports import STANDARD_PORTS, Scheme
from airut_egress.resolver import Resolver
from airut_egress.session import Decided, Session
from airut_egress.upstream_tls import UpstreamTls

from .backpressure import Backpressure, PacedReader
from .gathering import GatheringWriter
from .http_layer import DialFailure, EgressHttpLayer
from .lean import LeanContext, skip_type_checks
from .options import MODE, OPTIONS
from .port import exchange_of, mark_too_fast
from .tls_layer import SandboxTlsLayer
from .upstream import DialFailed, dial

#: Who connects and then says nothing, or says it very slowly, makes room for others (field notes 35).
_FIRST_REQUEST_SECONDS: Final = 30.0
_UPSTREAM_TLS_SECONDS: Final = 15.0
#: More than the streams that one HTTP/2 client may open at a time, so that none waits for another's end.
_UPSTREAMS_PER_CLIENT: Final = 128
#: Of one sandbox. An HTTP/2 client may need one for each stream, and descriptors are everybody's.
_MAX_UPSTREAMS: Final = 512
#: Hooks that say nothing we need; every other one has a method or ends the connection.
_WITHOUT_WORK: Final = frozenset(
    {
        "client_connected",
        "client_disconnected",
        "tls_established_client",
        "tls_established_server",
        "websocket_start",
    }
)

skip_type_checks()

log = structlog.get_logger()
Hook = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What every connection of an engine works with."""

    authority: Authority
    upstream_tls: UpstreamTls
    resolver: Resolver
    ports: Mapping[int, Scheme] = STANDARD_PORTS
    """Those that leave a sandbox."""


class SandboxConnection(LiveConnectionHandler):
    """Implements `ClientPort` for the layers and addons of one connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        session: Session,
        destination: tuple[str, int],
        means: Means,
    ) -> None:
        self._writer = GatheringWriter(writer)
        super().__init__(reader, _as_mitmproxy_has_it(self._writer), OPTIONS, MODE)
        self.session = session
        self.generation = session.generation
        self.destination = destination
        self.host = session.names.name_for(destination[0]) or ""
        self.exchanges: set[Exchange] = set()
        self.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(_UPSTREAMS_PER_CLIENT))
        self._means = means
        self.ports = means.ports
        self._ended = False
        self._spoken = False
        addons = (Judge(self), Bodies(self), Tls(self, means.authority, means.upstream_tls), Transit(self))
        self._hooks: dict[str, Hook] = {
            name: getattr(addon, name) for addon in addons for name in vars(type(addon)) if name[0] != "_"
        }
        self.layer = self._first_layer()
        http = self.layer.child_layer if isinstance(self.layer, SandboxTlsLayer) else self.layer
        self._pace = Backpressure(cast("EgressHttpLayer", http))
        self.transports[self.client].reader = self._paced(reader, self._pace.room_for_client)

    @property
    def port(self) -> int:
        """The port that the sandbox dialled."""
        return self.destination[1]

    @property
    def scheme(self) -> Scheme:
        """What that port is for."""
        return self.ports[self.port]

    @property
    def is_literal(self) -> bool:
        """Whether the sandbox dialled an address that stands for no name."""
        return not self.host and not in_pool(self.destination[0])

    @property
    def ended(self) -> bool:
        """Whether nothing more may happen on it."""
        return self._ended

    def _first_layer(self) -> Layer:
        context = LeanContext.of(self.layer.context)
        self._server = context.server
        # The address stays the name: mitmproxy keeps upstream connections by it (see `open_connection`).
        context.server.address = (self.host, self.port)
        if self.scheme == "https":
            context.server.tls = True
            return SandboxTlsLayer(context, self)
        return EgressHttpLayer(context, self)

    def _paced(
        self, reader: asyncio.StreamReader, room: Callable[[], Awaitable[None]]
    ) -> asyncio.StreamReader:
        return cast("asyncio.StreamReader", PacedReader(reader, room, self.session.pace))

    def adopt(self, name: str) -> bool:
        """Whether a canonical name is the one that was dialled.

        A proxy that was restarted has forgotten which names it gave addresses to, while the sandbox's cache has
        not. The address follows from the name, so what the client says can be checked.
        """
        if not self.host and in_pool(self.destination[0]):
            if str(self.session.names.address_for(name)) != self.destination[0]:
                return False
            self.host = name
            self._server.address = (name, self.port)
        return bool(self.host) and name == self.host

    # -- the end -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection to its end."""
        self.session.connections.add(self)
        patience = asyncio.get_running_loop().call_later(_FIRST_REQUEST_SECONDS, self._expect_request)
        try:
            await self.handle_client()
        finally:
            patience.cancel()
            self.session.connections.discard(self)
            self.abort("done")
            for exchange in tuple(self.exchanges):
                exchange.finish("error", "interrupted")
            self.exchanges.clear()
            if not self._spoken:
                self.session.note_connection("info", "no-request", host=self._shown_host, port=self.port)

    def denied(self, obstacle: str, detail: str = "", *, asked: str = "") -> None:
        """Record that this connection was denied."""
        self._spoken = True
        host = asked or self._shown_host
        decision: Decided = "error" if obstacle == "tls" else "deny"
        reason = f"{obstacle}: {detail}" if detail else obstacle
        self.session.note_connection(decision, reason, host=host, port=self.port)

    def refuse(self, obstacle: str, *, asked: str = "", farewell: bytes = b"") -> None:
        """Record that this connection was denied and end it, with a last word if there is one."""
        self.denied(obstacle, asked=asked)
        if farewell and not self._writer.is_closing():
            self._writer.write(farewell)
        self._end(at_once=False)

    def abort(self, reason: str) -> None:
        """Cut it at once."""
        if not self._ended and reason != "done":
            log.info("connection_cut", sandbox=self.session.config.sandbox, reason=reason)
        self._end(at_once=True)

    def _expect_request(self) -> None:
        if not self._spoken:
            self._end(at_once=True)

    def _end(self, *, at_once: bool) -> None:
        self._ended = True
        for transport in tuple(self.transports.values()):
            if at_once and isinstance(transport.writer, GatheringWriter):
                transport.writer.abort()
            if transport.handler is not None:
                # It closes its transport, which sends what is still to be sent.
                transport.handler.cancel("ended")

    @property
    def _shown_host(self) -> str:
        return self.host or self.destination[0]

    # -- mitmproxy's hooks, each failing closed ------------------------------------------------------------

    async def hook_task(self, hook: commands.StartHook) -> None:
        """Run a hook. When it fails, the layers never hear of its completion, and the connection ends."""
        try:
            await self.handle_hook(hook)
        except Exception as error:  # noqa: BLE001 (whatever it is, the connection ends)
            self._failed(hook.name, error)
            return
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """As `run_hook`, for those that take their time."""
        if isinstance(hook, HttpRequestHeadersHook):
            if not await self.session.pace.admit_request():
                mark_too_fast(hook.flow)
            elif self.scheme == "https":
                await self.session.get_tokens(self.host)
            if self._ended:
                return
        if isinstance(hook, HttpRequestHook):
            inspection = exchange_of(hook.flow).inspection
            if inspection is not None:
                await inspection.judge_aside(hook.flow.request.raw_content or b"")
        self.run_hook(hook)

    def run_hook(self, hook: commands.StartHook) -> None:
        """Hand a hook to its addon.

        Raises:
            LookupError: nobody is there for it: the connection is on a way that we did not foresee.
        """
        if hook.name in _WITHOUT_WORK:
            return
        if hook.name == "requestheaders":
            self._spoken = True
        (data,) = hook.args()
        self._hooks[hook.name](data)

    async def server_event(self, event: events.Event) -> None:
        """Let the layers act, unless the connection has ended."""
        if not self._ended:
            await super().server_event(event)
            for transport in self.transports.values():
                if isinstance(transport.writer, GatheringWriter):
                    transport.writer.flush()
            self._pace.moved()

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:  # noqa: ARG002
        """Of mitmproxy's log only crashes are wanted: the rest quotes traffic, and so credentials."""
        if exc_info is None:
            return
        error = exc_info[1] if isinstance(exc_info, tuple) else None
        self._failed(message, error)

    def _failed(self, where: str, error: BaseException | None) -> None:
        log.warning(
            "interception_failed",
            where=where,
            error=type(error).__name__,
            sandbox=self.session.config.sandbox,
        )
        log.debug("interception_traceback", exc_info=error or True)
        self._end(at_once=True)
        under_way = tuple(self.exchanges)
        self.exchanges.clear()
        for exchange in under_way:
            exchange.finish("error", "internal")
        if not under_way and not self._spoken:
            self._spoken = True
            self.session.note_connection("error", "internal", host=self._shown_host, port=self.port)

    # -- upstreams -----------------------------------------------------------------------------------------

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Dial the upstream of this connection. mitmproxy's version would resolve the name by itself, and
        dial whatever address that gives (field notes 8)."""
        connection = command.connection
        connection.timestamp_start = time.time()
        self.session.upstreams += 1
        try:
            await self._open(command, connection)
        finally:
            self.session.upstreams -= 1

    async def _open(self, command: commands.OpenConnection, connection: Server) -> None:
        try:
            reader, stream_writer = await self._dial(connection)
        except (DialFailed, asyncio.CancelledError) as error:
            self.transports.pop(connection, None)
            obstacle = error.obstacle if isinstance(error, DialFailed) else "upstream-unreachable"
            failure = DialFailure.of(obstacle, str(error))
            await self.server_event(events.OpenConnectionCompleted(command, failure))
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        writer = GatheringWriter(stream_writer)
        connection.timestamp_tcp_setup = time.time()
        connection.state = ConnectionState.OPEN
        connection.peername = writer.get_extra_info("peername")
        connection.sockname = writer.get_extra_info("sockname")
        self.transports[connection] = ConnectionIO(
            asyncio.current_task(),
            self._paced(reader, self._pace.room_for_upstream),
            _as_mitmproxy_has_it(writer),
        )
        watchdog = self._expect_tls(connection, writer)
        try:
            await self.server_event(events.OpenConnectionCompleted(command, None))
            await self.handle_connection(connection)
        finally:
            watchdog.cancel()
            writer.close()
            connection.timestamp_end = time.time()

    async def _dial(self, connection: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if connection.address != (self.host, self.port) or connection.transport_protocol != "tcp":
            raise DialFailed("mismatch", "the upstream is not the host that was asked for")
        if self._ended or self.session.closed:
            raise DialFailed("policy-changed", "the session is over")
        if self.session.upstreams > _MAX_UPSTREAMS:
            raise DialFailed("connections", "too many connections to upstreams")
        return await dial(self._means.resolver, self.host, self.port)

    def _expect_tls(self, connection: Server, writer: GatheringWriter) -> asyncio.TimerHandle:
        def check() -> None:
            if connection.tls and not connection.tls_established:
                writer.abort()

        return asyncio.get_running_loop().call_later(_UPSTREAM_TLS_SECONDS, check)


def _as_mitmproxy_has_it(writer: GatheringWriter) -> asyncio.StreamWriter:
    return cast("asyncio.StreamWriter", writer)


def in_pool(address: str) -> bool:
    """Whether an address is one of those that stand for names."""
    return IPv4Address(address) in POOL

"""mitmproxy's HTTP layer with streams that do nothing until they were allowed."""

import re
from typing import Final

from mitmproxy import flow
from mitmproxy.http import Request, Response
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpLayer,
    HTTPMode,
    HttpStream,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpRequestHeadersHook, HttpRequestHook

from airut_egress.answers import denial
from airut_egress.exchange import Exchange
from airut_egress.inspection import AT_ONCE_BYTES, Denied
from airut_egress.statuses import status_for

from .port import ClientPort, deny, detail_of, exchange_of, is_allowed, set_problem
from .servers import BoundedHttp2Server, StrictHttp1Server
from .upstream_http import use_bounded_clients
from .websocket import StreamingWebsocketLayer

use_bounded_clients()

# HTTP/2 carries any bytes; written as an HTTP/1 request line, some would end it early (RFC 9113 §10.3).
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET: Final = re.compile(rb"[^\x00-\x20\x7f]+")


class DialFailure(str):
    """mitmproxy carries a reason as text; this one knows its obstacle as well."""

    __slots__ = ("obstacle",)
    obstacle: str

    @classmethod
    def of(cls, obstacle: str, text: str) -> "DialFailure":
        """Put both together."""
        made = cls(text)
        made.obstacle = obstacle
        return made


class EgressHttpLayer(HttpLayer):
    """HTTP of one client connection."""

    def __init__(self, context: Context, port: ClientPort) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._port = port

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Start):
            http2 = self.context.client.alpn == b"h2"
            server = BoundedHttp2Server if http2 else StrictHttp1Server
            self.connections[self.context.client] = server(self.context.fork(), self._port)
        yield from super()._handle_event(event)

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """Begin a request."""
        stream = JudgedStream(self.context.fork(), stream_id, self._port)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())


class JudgedStream(HttpStream):
    """One request. Whatever was not allowed by the time its headers were judged is answered here and ends."""

    _body_follows = False

    def __init__(self, context: Context, stream_id: int, port: ClientPort) -> None:
        super().__init__(context, stream_id)
        self._port = port

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Run hooks where they stand: mitmproxy makes a task of each and comes back through all layers, which
        took a third of a request. What a hook raises is a crash of the layer, and ends the connection."""
        for command in super().handle_event(event):
            if isinstance(command, commands.StartHook) and not self._takes_time(command):
                self._port.run_hook(command)
                if command.blocking:
                    yield from self.handle_event(events.HookCompleted(command))
            else:
                yield command

    def _takes_time(self, hook: commands.StartHook) -> bool:
        if hook.name == HttpRequestHook.name:
            inspection = exchange_of(self.flow).inspection
            return inspection is not None and inspection.received > AT_ONCE_BYTES
        return hook.name == HttpRequestHeadersHook.name

    def state_wait_for_request_headers(self, event: RequestHeaders) -> CommandGenerator[None]:
        """Judge, then go on as mitmproxy does."""
        self._body_follows = not event.end_stream
        yield from super().state_wait_for_request_headers(event)

    def check_invalid(self, request: bool) -> CommandGenerator[bool]:  # noqa: FBT001 (mitmproxy's signature)
        """Whether the message must not be used; then it has been dealt with."""
        if not request:
            return (yield from super().check_invalid(request))
        problem = _protocol_problem(self.flow.request)
        if problem is None:
            return False
        set_problem(self.flow, problem)
        yield HttpRequestHeadersHook(self.flow)
        if not (yield from self.check_killed(emit_error_hook=True)):
            raise RuntimeError("a malformed request was allowed")
        return True

    def check_killed(self, emit_error_hook: bool) -> CommandGenerator[bool]:  # noqa: FBT001
        """Whether the stream has ended. From its judgement on, everything that is not allowed has; an inspected body
        is judged when it is complete."""
        if not is_allowed(self.flow):
            exchange = exchange_of(self.flow)
            judged_now = self.client_state == self.state_wait_for_request_headers
            if judged_now and exchange.inspection is not None and not exchange.obstacle:
                return False
            yield from self._deny(exchange)
            return True
        return (yield from super().check_killed(emit_error_hook))

    def state_consume_request_body(self, event: events.Event) -> CommandGenerator[None]:
        """Collect a body that is inspected, within bounds."""
        if isinstance(event, RequestEndOfMessage):
            self._body_follows = False
        elif isinstance(event, RequestData) and event.data:
            exchange = exchange_of(self.flow)
            try:
                exchange.collect(len(event.data))
            except Denied as denied:
                self.request_body_buf.clear()  # type: ignore[no-untyped-call]
                deny(self._port, self.flow, denied)
                yield from self._deny(exchange)
                return
        yield from super().state_consume_request_body(event)

    def _deny(self, exchange: Exchange) -> CommandGenerator[None]:
        yield from self._answer(self._denial(exchange, detail_of(self.flow), close=self._body_follows))

    def _denial(self, exchange: Exchange, detail: str, *, close: bool) -> Response:
        agent = self.flow.request.headers.get("user-agent", "")
        return denial(exchange, exchange.obstacle, detail, agent=agent, close=close)

    def make_server_connection(self) -> CommandGenerator[bool]:
        """Open the upstream connection, or take one that is open; on failure the client is told why."""
        if not is_allowed(self.flow):
            raise RuntimeError("a request that is not allowed reached for its upstream")
        request = self.flow.request
        connection, error = yield GetHttpConnection(
            (request.host, request.port), request.scheme == "https", None
        )
        if error is None:
            self.context.server = self.flow.server_conn = connection
            if connection.alpn != b"h2":
                self._frame_for_http1()
            return True
        exchange = exchange_of(self.flow)
        exchange.obstacle = error.obstacle if isinstance(error, DialFailure) else "upstream-tls"
        exchange.status = status_for(exchange.obstacle)
        self.flow.error = flow.Error(str(error))
        yield HttpErrorHook(self.flow)
        yield from self._answer(self._denial(exchange, str(error), close=True))
        return False

    def _frame_for_http1(self) -> None:
        """Frame a body that had no need of it in HTTP/2. mitmproxy would write it behind the head as it is, where
        the upstream reads it as the next request, which nobody has judged (field notes 15)."""
        headers = self.flow.request.headers
        if self._body_follows and not {"content-length", "transfer-encoding"} & {
            name.lower() for name in headers
        }:
            headers["transfer-encoding"] = "chunked"

    def flow_done(self) -> CommandGenerator[None]:
        """Drop the stream, or turn it into a WebSocket."""
        if not self.flow.websocket:
            yield from super().flow_done()
            return
        self.child_layer = StreamingWebsocketLayer(self.context, self.flow)
        self._handle_event = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def _answer(self, response: Response) -> CommandGenerator[None]:
        client = self.context.client
        self.flow.response = response
        body = response.raw_content or b""
        yield SendHttp(ResponseHeaders(self.stream_id, response, end_stream=False), client)
        if self.flow.request.method.upper() != "HEAD":
            yield SendHttp(ResponseData(self.stream_id, body), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored
        yield DropStream(self.stream_id)


def _protocol_problem(request: Request) -> str | None:
    if request.method.upper() == "CONNECT":
        return "CONNECT makes a tunnel"
    if request.scheme not in {"http", "https", ""}:
        return "its scheme is neither http nor https"
    if _METHOD.fullmatch(request.data.method) is None or _TARGET.fullmatch(request.data.path) is None:
        return "its method or path has a character that does not belong there"
    try:
        validate_headers(request)
    except ValueError as error:
        return str(error)
    return None

"""Answers on their way back, and the one event at the end of each request."""

from collections.abc import Sequence
from typing import cast

from mitmproxy.http import Headers, HTTPFlow, Response

from airut_egress.exchange import Exchange
from airut_egress.interception.port import ClientPort, exchange_of
from airut_egress.scrub import AnswerScrubber, Needle, Undecodable


class Transit:
    """Streams bodies, strips what would lead around the proxy, records."""

    def __init__(self, port: ClientPort) -> None:
        self._port = port

    def responseheaders(self, flow: HTTPFlow) -> None:
        """Bodies pass as they come; nothing is held (field notes 20, 35)."""
        exchange = exchange_of(flow)
        response = flow.response
        if response is None or not exchange.allowed:
            raise RuntimeError("an answer to a request that did not go out")
        exchange.status = response.status_code
        # Field notes 5: it would invite the client to QUIC or another port.
        response.headers.pop("alt-svc", None)
        if response.status_code == 101 and not (
            exchange.websocket and response.headers.get("upgrade", "").lower() == "websocket"
        ):
            # Field notes 17: an upgrade that nobody asked for would make an opaque tunnel.
            _kill(flow, "protocol")
            return
        if needles := self._port.session.needles_for(exchange.host):
            try:
                self._scrub(flow, exchange, needles)
            except Undecodable:
                _kill(flow, "coding")
                return
        response.stream = exchange.count_in

    def _scrub(self, flow: HTTPFlow, exchange: Exchange, needles: Sequence[Needle]) -> None:
        """Let no real credential come back (field notes 24). What was compressed goes on without its coding, because
        a value can be anywhere in it."""
        request, response = flow.request, cast(Response, flow.response)
        headers = response.headers
        scrubber = exchange.scrubber = AnswerScrubber(needles, headers.get("content-encoding", ""))
        response.headers = Headers(scrubber.headers(headers.fields))
        if not scrubber.decodes or request.method == "HEAD" or response.status_code in {204, 304}:
            return
        if response.status_code == 206:
            raise Undecodable("a part of a compressed body")
        for name in ("content-encoding", "content-length"):
            response.headers.pop(name, None)
        if request.http_version == "HTTP/1.1":
            response.headers["transfer-encoding"] = "chunked"

    def response(self, flow: HTTPFlow) -> None:
        """The answer is complete."""
        exchange = exchange_of(flow)
        if exchange.scrubber is not None and flow.response is not None and flow.response.trailers:
            flow.response.trailers = Headers(exchange.scrubber.headers(flow.response.trailers.fields))
        if flow.websocket is None:
            self._end(flow)
        elif not exchange.websocket:
            raise RuntimeError("a WebSocket that nobody asked for")

    def websocket_end(self, flow: HTTPFlow) -> None:
        """The WebSocket is closed."""
        self._end(flow)

    def error(self, flow: HTTPFlow) -> None:
        """The request did not come to its end, or its upstream could not be reached."""
        exchange = exchange_of(flow)
        denied = exchange.obstacle in {"protocol", "upstream-refused", "coding"}
        exchange.finish("deny" if denied else "error", exchange.obstacle or "interrupted")
        self._port.exchanges.discard(exchange)

    def _end(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        exchange.finish("allow", exchange.rule)
        self._port.exchanges.discard(exchange)


def _kill(flow: HTTPFlow, obstacle: str) -> None:
    exchange_of(flow).obstacle = obstacle
    flow.kill()  # type: ignore[no-untyped-call]

"""Answers on their way back, and the one event at the end of each request."""

from mitmproxy.http import HTTPFlow

from airut_egress.interception.port import ClientPort, exchange_of


class Transit:
    """Streams bodies, strips what would lead around the proxy, records."""

    def __init__(self, port: ClientPort) -> None:
        self._port = port

    def request(self, flow: HTTPFlow) -> None:
        """The body has been sent on; what follows it has not. Trailers would come past the judgement with headers
        of all kinds, and nobody has to pass them on (RFC 9110 §6.5.1, field notes 21)."""
        flow.request.trailers = None

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
            exchange.obstacle = "protocol"
            flow.kill()  # type: ignore[no-untyped-call]
            return
        response.stream = exchange.count_in

    def response(self, flow: HTTPFlow) -> None:
        """The answer is complete."""
        exchange = exchange_of(flow)
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
        denied = exchange.obstacle in {"protocol", "upstream-refused"}
        exchange.finish("deny" if denied else "error", exchange.obstacle or "interrupted")
        self._port.exchanges.discard(exchange)

    def _end(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        exchange.finish("allow", exchange.rule)
        self._port.exchanges.discard(exchange)

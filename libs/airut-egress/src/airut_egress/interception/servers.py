"""The side that faces the sandbox: HTTP/1 with a strict head, HTTP/2 with bounds."""

from typing import Final

import h2.errors
import h2.events
from h2.stream import StreamState as H2State
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import ResponseEndOfMessage
from mitmproxy.proxy.layers.http._http1 import Http1Server
from mitmproxy.proxy.layers.http._http2 import Http2Server

from .bodies import without_trailers
from .head import head_problem
from .port import ClientPort

_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 256 * 1024
# Resetting streams is normal; resetting most of them at once is an attack (CVE-2023-44487, field notes 16).
_RESETS_TOLERATED: Final = 200

_BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)


class StrictHttp1Server(Http1Server):
    """Checks each head on its raw bytes; after an early final answer, stops reading."""

    def __init__(self, context: Context, port: ClientPort) -> None:
        super().__init__(context)
        self._port = port
        self._lingered = 0

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Parse the next request, if its head is sound."""
        if isinstance(event, events.DataReceived) and (problem := head_problem(bytes(self.buf))):
            text = f"This request cannot leave the sandbox: {problem}.\n".encode()
            self._port.denied("protocol", problem)
            yield commands.SendData(self.conn, _BAD_REQUEST % (len(text), text))
            yield from self._stop_reading()
        else:
            yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read on in a body."""
        self.body_reader = without_trailers(self.body_reader)
        yield from super().read_body(event)

    def send(self, event: HttpEvent) -> CommandGenerator[None]:
        """Send a part of a response."""
        if isinstance(event, ResponseEndOfMessage) and not self.request_done:
            # The answer is final although the request is not: nobody wants the rest of it (field notes 35).
            yield from self._stop_reading()
        else:
            yield from super().send(event)

    def _stop_reading(self) -> CommandGenerator[None]:
        # Closing with unread data would reset the connection, and the client might never see the answer.
        self.state = self.linger
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield commands.RequestWakeup(_LINGER_SECONDS)

    def linger(self, event: events.Event) -> CommandGenerator[None]:
        """Throw away what still comes, for a moment."""
        if isinstance(event, events.DataReceived):
            self.buf.maybe_extract_at_most(len(self.buf))
            self._lingered += len(event.data)
            if self._lingered <= _LINGER_BYTES:
                return
        yield commands.CloseConnection(self.conn)


class BoundedHttp2Server(Http2Server):
    """Refuses floods of resets, reports protocol errors, and ends streams that were answered early."""

    def __init__(self, context: Context, port: ClientPort) -> None:
        super().__init__(context)
        self._port = port
        self._resets = 0

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from super()._handle_event(event)
        if isinstance(event, ResponseEndOfMessage) and self._request_is_open(event.stream_id):
            # RFC 9113 §8.1: a complete answer, and then no more of the request, please.
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            self.streams.pop(event.stream_id, None)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())

    def handle_h2_event(self, event: h2.events.Event) -> CommandGenerator[bool]:
        """Take one event in; True ends the connection."""
        if isinstance(event, h2.events.StreamReset):
            self._resets += 1
            if self._resets > _RESETS_TOLERATED:
                yield from self.protocol_error("too many resets", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                return True
        return (yield from super().handle_h2_event(event))

    def protocol_error(
        self, message: str, error_code: int = h2.errors.ErrorCodes.PROTOCOL_ERROR
    ) -> CommandGenerator[None]:
        """End the connection. An extended CONNECT comes to this as well: its pseudo-header is unknown."""
        self._port.denied("protocol", message)
        yield from super().protocol_error(message, error_code)

    def _request_is_open(self, stream_id: int) -> bool:
        stream = self.h2_conn.streams.get(stream_id)
        return stream is not None and stream.state_machine.state in {
            H2State.OPEN,
            H2State.HALF_CLOSED_LOCAL,
        }

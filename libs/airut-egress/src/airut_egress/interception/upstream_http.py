"""The side that faces upstreams: HTTP/1 that knows interim answers and has a bound."""

import re
from typing import Final

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers import http
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, ResponseProtocolError
from mitmproxy.proxy.layers.http._http1 import Http1Client

from .bodies import without_trailers

MAX_BUFFERED_BYTES: Final = 512 * 1024
"""Of an answer's head, or of one line between chunks: only they wait for their end (field notes 35)."""
_MAX_INTERIM: Final = 16
# RFC 9110 §15.2; 101 is final for us.
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01 )[0-9]{2} ")


class BoundedHttp1Client(Http1Client):
    """Drops interim answers such as 103, which mitmproxy takes for the final one, and gives up on endless lines."""

    _interim = 0

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from super()._handle_event(event)
        if len(self.buf) > MAX_BUFFERED_BYTES and self.state != self.passthrough:
            self.buf.maybe_extract_at_most(len(self.buf))
            self.state = self.done
            yield commands.CloseConnection(self.conn)
            if self.stream_id is not None:
                problem = ResponseProtocolError(
                    self.stream_id, "the answer has no end of its head", ErrorCode.GENERIC_SERVER_ERROR
                )
                yield ReceiveHttp(problem)

    def read_headers(self, event: events.ConnectionEvent) -> CommandGenerator[None]:
        """Parse the final answer's head."""
        if isinstance(event, events.DataReceived) and self.request:
            while _INTERIM.match(bytes(self.buf)) and self._interim < _MAX_INTERIM:
                if self.buf.maybe_extract_lines() is None:
                    return
                self._interim += 1
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> CommandGenerator[None]:
        """Read on in a body."""
        self.body_reader = without_trailers(self.body_reader)
        yield from super().read_body(event)


def use_bounded_clients() -> None:
    """mitmproxy's layers name the class that they use, and offer no other way to give them one of ours."""
    http.Http1Client = BoundedHttp1Client  # type: ignore[attr-defined]

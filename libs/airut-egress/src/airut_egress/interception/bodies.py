"""HTTP/1 bodies as mitmproxy reads them, but for trailers."""

from typing import Any, Protocol

import h11


class BodyReader(Protocol):
    """One of h11's readers."""

    def __call__(self, buffer: Any) -> Any:
        """The next event, or None when more data is needed."""

    def read_eof(self) -> Any:
        """The event that the end of the connection makes."""


class WithoutTrailers:
    """Lets a chunked body end without its trailers, which mitmproxy fails on. Whoever passes a message on may drop
    them (RFC 9110 §6.5.1)."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader

    def __call__(self, buffer: Any) -> Any:
        """The next event, or None when more data is needed."""
        return _bare(self._reader(buffer))

    def read_eof(self) -> Any:
        """The event that the end of the connection makes."""
        return _bare(self._reader.read_eof())


def without_trailers(reader: Any) -> Any:
    """Wrap a reader, once."""
    return reader if isinstance(reader, WithoutTrailers) else WithoutTrailers(reader)


def _bare(event: Any) -> Any:
    return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event

"""Nobody may send faster than the other side takes it: what waits inside of mitmproxy's layers is bounded.

mitmproxy reads from both sides as fast as it can. Socket buffers hold a slow receiver back, but these do not: a
request whose upstream is still being dialled, requests sent ahead of their turn, and HTTP/2 streams whose window
is closed. Each would fill the memory that all sandboxes share (field notes 35).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Connection

from airut_egress.pace import Pace

from .http_layer import EgressHttpLayer
from .servers import StrictHttp1Server

MAX_WAITING_BYTES: Final = 1024 * 1024
"""In each direction of a connection, beside what one read adds."""
_READ_BYTES: Final = 256 * 1024
"""As much as has arrived: it is in memory already. mitmproxy would take a quarter of it at a time through all layers,
which costs more than the bytes do."""
#: What a queued event takes up besides its data.
_EVENT_BYTES: Final = 512


class Backpressure:
    """What waits in one client connection, and those who wait for it to go."""

    def __init__(self, http: EgressHttpLayer) -> None:
        self._http = http
        self._moved = asyncio.Event()

    def moved(self) -> None:
        """Something has happened; there may be room now."""
        self._moved.set()

    async def room_for_client(self) -> None:
        """Return when the sandbox may send more."""
        await self._wait(self._from_client)

    async def room_for_upstream(self) -> None:
        """Return when upstreams may send more."""
        await self._wait(self._to_client)

    async def _wait(self, waiting: Callable[[], int]) -> None:
        while waiting() > MAX_WAITING_BYTES:
            self._moved.clear()
            await self._moved.wait()

    def _from_client(self) -> int:
        http = self._http
        total = sum(_queued(stream) for stream in http.streams.values())
        for connection, layer in http.connections.items():
            inner = _innermost(layer)
            if connection is not http.context.client:
                total += _unsent(inner)
            elif isinstance(inner, StrictHttp1Server):
                total += len(inner.buf)
        return total

    def _to_client(self) -> int:
        return _unsent(self._http.connections.get(self._http.context.client))


class PacedReader:
    """A reader that reads only when there is room for what it may find, and hands it on when it is its sandbox's
    turn: working on it is what costs time."""

    def __init__(self, reader: asyncio.StreamReader, room: Callable[[], Awaitable[None]], pace: Pace) -> None:
        self._reader = reader
        self._room = room
        self._pace = pace

    async def read(self, _size: int) -> bytes:
        """What has arrived, when there is room for it."""
        await self._room()
        data = await self._reader.read(_READ_BYTES)
        await self._pace.take_in(len(data))
        return data


def _innermost(layer: Layer) -> Layer:
    while (child := getattr(layer, "child_layer", None)) is not None:
        layer = child
    return layer


def _queued(layer: Layer) -> int:
    """Bytes of events that wait until a layer goes on."""
    return sum(_EVENT_BYTES + len(getattr(event, "data", b"")) for event in layer._paused_event_queue)


def _unsent(layer: Layer | None) -> int:
    """Bytes that wait for a window of HTTP/2 to open, or for a stream to begin."""
    if not isinstance(layer, Http2Connection):
        return 0
    total = sum(len(part.data) for parts in layer.h2_conn.stream_buffers.values() for part in parts)
    if isinstance(layer, Http2Client):
        total += sum(
            _EVENT_BYTES + len(getattr(event, "data", b""))
            for events in layer.stream_queue.values()
            for event in events
        )
    return total

"""A worker's events on their way to the service. The data path hands them over and never waits."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from airut_common.contracts.v1 import EgressEvent
from airut_egress.progress import Progress
from airut_egress.session import Session

from .batches import encode_batch, event_line
from .frames import EVENTS
from .messages import BatchHead, Moved

_BATCH_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 1.0
"""Between two looks at sessions that have no events but count on: a long upload."""
_BATCH_BYTES: Final = 256 * 1024
_MAX_WAITING: Final = 16 * 1024 * 1024
"""Some ten thousand events; what does not fit is dropped and counted."""
_MAX_UNSENT: Final = 1024 * 1024
"""In the channel. What waits here instead can still be counted as dropped, and does not delay answers."""


class Wire(Protocol):
    """The part of a channel that takes events."""

    @property
    def waiting_bytes(self) -> int:
        """Not yet taken by the other side."""

    def send(self, kind: bytes, body: bytes) -> None:
        """Send a message."""


@dataclass(slots=True)
class _Told:
    """What the service knows of a session."""

    progress: Progress | None = None
    names: int = 0


@dataclass(slots=True)
class Outbox:
    """An `EventSink` that sends in batches, with what the service needs to give a session to another worker."""

    wire: Wire
    sessions: Callable[[], Mapping[str, Session]]
    _lines: deque[bytes] = field(default_factory=deque)
    _bytes: int = 0
    _dropped: Counter[str] = field(default_factory=Counter)
    _told: dict[str, _Told] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None

    def record(self, event: EgressEvent) -> None:
        """Take an event in."""
        line = event_line(event.sandbox, event.seq, event.encode())
        if self._bytes + len(line) > _MAX_WAITING:
            self._dropped[event.sandbox] += 1
        else:
            self._lines.append(line)
            self._bytes += len(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._send_soon)

    async def run(self) -> None:
        """Tell now and then how far sessions are that have no events, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.wire.waiting_bytes < _MAX_UNSENT and (moved := self._moved()):
                self._send(moved, ())

    def flush(self) -> None:
        """Send everything now: what an answer says must not arrive before the events that led to it."""
        while self._lines or self._dropped:
            self._send_batch()

    def _send_soon(self) -> None:
        self._timer = None
        while (self._lines or self._dropped) and self.wire.waiting_bytes < _MAX_UNSENT:
            self._send_batch()
        if self._lines or self._dropped:
            self._timer = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._send_soon)

    def _send_batch(self) -> None:
        size, lines = 0, []
        while self._lines and size < _BATCH_BYTES:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        self._bytes -= size
        # How far sessions are is never behind the events: no number may be given twice, should we die now.
        self._send(self._moved(), lines)

    def _send(self, moved: tuple[Moved, ...], lines: Sequence[bytes]) -> None:
        connections = sum(len(session.connections) for session in self.sessions().values())
        self.wire.send(EVENTS, encode_batch(BatchHead(moved=moved, connections=connections), lines))

    def _moved(self) -> tuple[Moved, ...]:
        sessions = self.sessions()
        for gone in self._told.keys() - sessions.keys():
            del self._told[gone]
        found = [moved for session in sessions.values() if (moved := self._moved_of(session)) is not None]
        known = {moved.sandbox for moved in found}
        found += [
            Moved(sandbox=sandbox, dropped=count)
            for sandbox, count in self._dropped.items()
            if sandbox not in known
        ]
        self._dropped.clear()
        return tuple(found)

    def _moved_of(self, session: Session) -> Moved | None:
        sandbox = session.config.sandbox
        told = self._told.setdefault(sandbox, _Told())
        progress = session.progress
        if told.progress == progress and told.names == len(session.names):
            return None
        moved = Moved(
            sandbox=sandbox,
            progress=progress,
            names_from=told.names,
            names=tuple(session.names.given(told.names)),
            dropped=self._dropped[sandbox],
        )
        told.progress, told.names = progress, told.names + len(moved.names)
        return moved

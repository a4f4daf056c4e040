"""Events on their way to the bus. The data path hands them over and never waits."""

import asyncio
from typing import Final, Protocol

import structlog

from airut_common.contracts.v1 import EgressEvent, utc_now
from airut_common.contracts.v1.subjects import egress_event

from .spool import Spool

_DRAIN_SECONDS: Final = 0.5
_DRAIN_BATCH: Final = 500

log = structlog.get_logger()
Sandbox = tuple[str, str, str]
"""Repository, sandbox, task."""


class EncodedSink(Protocol):
    """Takes events of other processes, at once and without blocking, as `EventSink` takes ours."""

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None:
        """Take in an event as it is published: UTF-8 JSON. `number`: its `seq`."""

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None:
        """Note that so many events never came. `last`: the number of the last."""


class Outlet(Protocol):
    """The part of the bus that takes events."""

    def publish_soon(self, subject: str, data: bytes) -> bool:
        """Take an encoded event. False: there was no room."""

    @property
    def connected(self) -> bool:
        """Whether what is given now can reach the bus."""


class BusSink:
    """Publishes; spools to disk while the bus is away; counts what even the disk could not take, and says so."""

    def __init__(self, outlet: Outlet, spool: Spool) -> None:
        self._outlet = outlet
        self._spool = spool
        self._dropped: dict[Sandbox, tuple[int, int]] = {}
        self.dropped = 0
        """Events that were lost since the start."""

    def record(self, event: EgressEvent) -> None:
        """Take an event in."""
        self.record_encoded((event.repo, event.sandbox, event.task), event.seq, event.encode())

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None:
        """See `EncodedSink`."""
        if not self._keep(origin, data):
            self.count_dropped(origin, 1, number)

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None:
        """See `EncodedSink`."""
        self.dropped += count
        if not self._dropped:
            log.warning("events_dropped", reason="there was no room for them")
        before, _ = self._dropped.get(origin, (0, 0))
        self._dropped[origin] = (before + count, last)

    async def run(self) -> None:
        """Send what was spooled, whenever the bus is there, until cancelled."""
        while True:
            self._report_drops()
            self._drain()
            await asyncio.sleep(_DRAIN_SECONDS)

    def _keep(self, origin: Sandbox, data: bytes) -> bool:
        repo, sandbox, _ = origin
        subject = egress_event(repo, sandbox)
        # What is spooled goes first, so that events stay in order.
        if self._spool.empty and self._outlet.connected and self._outlet.publish_soon(subject, data):
            return True
        return self._spool.append(subject, data)

    def _drain(self) -> None:
        if self._spool.empty or not self._outlet.connected:
            return
        for number, (subject, data) in enumerate(self._spool.read()):
            # Leaving in the middle keeps this one for the next time.
            if number >= _DRAIN_BATCH or not self._outlet.publish_soon(subject, data):
                return

    def _report_drops(self) -> None:
        for key, (count, seq) in list(self._dropped.items()):
            repo, sandbox, task = key
            event = EgressEvent(
                kind="session",
                repo=repo,
                sandbox=sandbox,
                task=task,
                at=utc_now(),
                seq=seq,
                decision="info",
                reason="events-dropped",
                dropped=count,
            )
            if not self._keep(key, event.encode()):
                return
            del self._dropped[key]

"""Events on their way to the bus. The data path hands them over and never waits."""

import asyncio
from typing import Final, Protocol

import structlog

from airut_common.contracts.v1 import EgressEvent, Message, utc_now
from airut_common.contracts.v1.subjects import egress_event

from .spool import Spool

_DRAIN_SECONDS: Final = 0.5
_DRAIN_BATCH: Final = 500

log = structlog.get_logger()
Sandbox = tuple[str, str, str]
"""Repository, sandbox, task."""


class Outlet(Protocol):
    """The part of the bus that takes events."""

    def publish_soon(self, subject: str, message: Message) -> bool:
        """False: there was no room."""

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
        if not self._keep(event):
            self.dropped += 1
            key = (event.repo, event.sandbox, event.task)
            count, _ = self._dropped.get(key, (0, 0))
            if not self._dropped:
                log.warning("events_dropped", reason="the bus is away and the spool is full")
            self._dropped[key] = (count + 1, event.seq)

    async def run(self) -> None:
        """Send what was spooled, whenever the bus is there, until cancelled."""
        while True:
            self._report_drops()
            self._drain()
            await asyncio.sleep(_DRAIN_SECONDS)

    def _keep(self, event: EgressEvent) -> bool:
        subject = egress_event(event.repo, event.sandbox)
        # What is spooled goes first, so that events stay in order.
        if self._spool.empty and self._outlet.connected and self._outlet.publish_soon(subject, event):
            return True
        return self._spool.append(subject, event.encode())

    def _drain(self) -> None:
        if self._spool.empty or not self._outlet.connected:
            return
        for number, (subject, data) in enumerate(self._spool.read()):
            # Leaving in the middle keeps this one for the next time.
            if number >= _DRAIN_BATCH or not self._outlet.publish_soon(subject, EgressEvent.decode(data)):
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
            if not self._keep(event):
                return
            del self._dropped[key]

"""One event for several: the record that counts, and those who only watch."""

from collections.abc import Sequence

import structlog
from pydantic import ValidationError

from airut_common.contracts.v1 import EgressEvent
from airut_egress.events import EventSink

from .sink import BusSink, Sandbox

log = structlog.get_logger()


class FanOut:
    """Gives each event to the record first. What fails there fails the request; what fails in a watcher does not."""

    def __init__(self, record: BusSink, watchers: Sequence[EventSink]) -> None:
        self._record = record
        self._watchers = watchers

    def record(self, event: EgressEvent) -> None:
        """Take an event in."""
        self._record.record(event)
        self._show(event)

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None:
        """Take in an event of another process; it is read for the watchers alone."""
        self._record.record_encoded(origin, number, data)
        try:
            event = EgressEvent.decode(data)
        except ValidationError:
            log.error("event_unreadable", sandbox=origin[1])
            return
        self._show(event)

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None:
        """See `EncodedSink`."""
        self._record.count_dropped(origin, count, last)

    def _show(self, event: EgressEvent) -> None:
        for watcher in self._watchers:
            try:
                watcher.record(event)
            except Exception as error:  # noqa: BLE001 (no request ends because nobody could count it)
                log.warning("watcher_failed", watcher=type(watcher).__name__, error=type(error).__name__)

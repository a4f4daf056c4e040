"""One event for several: the record that counts, and those who only watch."""

from collections.abc import Sequence

import structlog

from airut_common.contracts.v1 import EgressEvent
from airut_egress.events import EventSink

log = structlog.get_logger()


class FanOut:
    """Gives each event to the record first. What fails there fails the request; what fails in a watcher does not."""

    def __init__(self, record: EventSink, watchers: Sequence[EventSink]) -> None:
        self._record = record
        self._watchers = watchers

    def record(self, event: EgressEvent) -> None:
        """Take an event in."""
        self._record.record(event)
        for watcher in self._watchers:
            try:
                watcher.record(event)
            except Exception as error:  # noqa: BLE001 (no request ends because nobody could count it)
                log.warning("watcher_failed", watcher=type(watcher).__name__, error=type(error).__name__)

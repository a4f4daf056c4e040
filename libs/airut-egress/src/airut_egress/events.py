"""Where events go. The engine never waits for anybody who watches."""

from typing import Protocol

from airut_common.contracts.v1 import EgressEvent


class EventSink(Protocol):
    """Takes one event at once and never blocks; what it cannot keep, it drops and counts."""

    def record(self, event: EgressEvent) -> None:
        """Take an event in."""

"""What a sandbox tried to reach, as JSON lines, and the count of it."""

from typing import IO, Final

from airut_common.contracts.v1 import EgressEvent

_MAX_KINDS: Final = 100


class EventLog:
    """An `EventSink` that writes each event as one line of JSON, as it comes."""

    def __init__(self, file: IO[str] | None) -> None:
        """Args:
        file: line-buffered; None only counts.
        """
        self._file = file
        self.requests = 0
        self.denied: dict[str, int] = {}
        """`host: obstacle` to how often; at most a hundred of them."""

    def record(self, event: EgressEvent) -> None:
        """Take an event in."""
        if self._file is not None:
            self._file.write(event.encode().decode() + "\n")
        if event.kind == "request":
            self.requests += 1
        if event.decision == "deny" and event.kind != "dns":
            what = f"{event.host}: {event.reason}"
            if what in self.denied or len(self.denied) < _MAX_KINDS:
                self.denied[what] = self.denied.get(what, 0) + 1

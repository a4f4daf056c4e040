"""Events that come by the thousand: the first of a kind is recorded at once, the rest of its burst as a count."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

_BURST_SECONDS: Final = 2.0
_MAX_KINDS: Final = 256
"""In one burst. What is still different then is counted together."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes two events equal."""

    decision: Literal["allow", "deny", "error", "info"]
    reason: str
    host: str = ""
    port: int | None = None


@dataclass(slots=True)
class Bursts:
    """Of one sandbox (field notes 37: nobody hides an event among ten thousand equal ones)."""

    record: Callable[[Kind, int], None]
    """Takes how many there were; at least one."""
    _more: dict[Kind, int] = field(default_factory=dict)
    """What came after the first of each kind that this burst has seen."""
    _end: asyncio.TimerHandle | None = None

    def note(self, kind: Kind) -> None:
        """Record it now, or count it until the burst is over."""
        if kind not in self._more and len(self._more) >= _MAX_KINDS:
            kind = Kind(kind.decision, kind.reason.partition(":")[0])
        if kind in self._more:
            self._more[kind] += 1
            return
        self._more[kind] = 0
        self.record(kind, 1)
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(_BURST_SECONDS, self.flush)

    def flush(self) -> None:
        """Record what has been counted; the next of any kind begins a new burst."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        counted, self._more = self._more, {}
        for kind, more in counted.items():
            if more:
                self.record(kind, more)

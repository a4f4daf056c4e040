"""Which worker takes a new sandbox. It stays there: its sockets and its state are in that process."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST: Final = 8
"""Unless the configuration asks for more: each takes memory of its own."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker has to do."""

    sessions: int = 0
    connections: int = 0
    """Open ones, as it last told."""
    failing: bool = False
    """Whether it could not be started when that was last tried."""


def choose(loads: Sequence[Load]) -> int:
    """The number of the worker with the fewest sessions; among equals, with the fewest connections. One that is not
    up yet is as good as others, or all that return after a restart would go to the first that is."""
    return min(
        range(len(loads)),
        key=lambda each: (loads[each].failing, loads[each].sessions, loads[each].connections),
    )


def default_workers() -> int:
    """One for each processor that this process may use."""
    return min(os.process_cpu_count() or 1, _MOST)

"""How many mails per hour one sender or one conversation may start tasks with: the last stop for a loop (row 53)."""

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 3600.0
PER_SENDER = 300
PER_CONVERSATION = 60
MAX_KEYS = 10_000


class RateCap:
    """Counts events per key over the last hour. Memory is bounded by `MAX_KEYS` keys and the limit itself."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def take(self, key: str) -> bool:
        """Count one more; False, and nothing counted, when the hour is full."""
        now = self._clock()
        times = self._times.pop(key, deque())
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        allowed = len(times) < self._limit
        if allowed:
            times.append(now)
        # Put back at the end: the first key is the one not heard of for longest.
        self._times[key] = times
        if len(self._times) > MAX_KEYS:
            del self._times[next(iter(self._times))]
        return allowed

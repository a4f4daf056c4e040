"""How fast one sandbox may go: its turns among the others, its requests and its bytes in a second (field notes 35)."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from .buckets import TokenBucket
from .turns import Turns

_PATIENCE_SECONDS: Final = 2.0
"""A request above the rate waits for so long at most, before it is refused."""
_BURST_SECONDS: Final = 2.0
"""How much of a rate may be used at once."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of each sandbox."""

    requests_per_second: float = 500.0
    bytes_per_second: float | None = None
    """In both directions together; None is no limit."""


class Pace:
    """Of one sandbox."""

    def __init__(self, turns: Turns, rates: Rates) -> None:
        self._turns = turns
        self.use(rates)

    def use(self, rates: Rates) -> None:
        """Go by other rates from now on."""
        self._requests = _bucket(rates.requests_per_second)
        self._bytes = None if rates.bytes_per_second is None else _bucket(rates.bytes_per_second)

    async def take_turn(self) -> None:
        """Return when this sandbox may take a step."""
        await self._turns.take(self)

    async def take_in(self, size: int) -> None:
        """Return when so many bytes that have been read may be worked on."""
        if self._bytes is not None:
            wait = self._bytes.wait_for(0, time.monotonic())
            self._bytes.take(size)
            if wait:
                await asyncio.sleep(wait)
        await self._turns.take(self)

    async def admit_request(self) -> bool:
        """Return when a request may go on; False when that would take too long, and then it may not."""
        wait = self._requests.wait_for(1, time.monotonic())
        if wait > _PATIENCE_SECONDS:
            return False
        self._requests.take(1)
        if wait:
            await asyncio.sleep(wait)
        await self._turns.take(self)
        return True


def _bucket(per_second: float) -> TokenBucket:
    return TokenBucket(per_second, burst=per_second * _BURST_SECONDS)

"""Which requests last, told while they do: an upload of an hour must not stay unseen until its end (field notes 37)."""

import asyncio
import time
from typing import Final, Protocol

import structlog

LASTS_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.1
"""Between two looks, so that a crowd of requests is looked at together."""

log = structlog.get_logger()


class Lasting(Protocol):
    """A request that is under way."""

    started: float
    """By the monotonic clock."""

    def tell_start(self) -> None:
        """Record that it has begun."""

    def abandon(self) -> None:
        """Cut it."""


class Starts:
    """Numbers the requests of a session, and lets each tell its start when it has lasted two seconds.

    One timer serves all of them, and none runs while there is no request: a short one costs an entry in a table.
    """

    def __init__(self) -> None:
        self.begun = 0
        """The number of the next request."""
        self._untold: dict[int, Lasting] = {}
        """By number, and so the oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, request: Lasting) -> int:
        """Give a request its number; they count from 0."""
        number = self.begun
        self.begun += 1
        self._untold[number] = request
        if self._timer is None:
            self._look_again(request)
        return number

    def end(self, number: int) -> None:
        """It is over; its start need not be told any more."""
        self._untold.pop(number, None)

    def _look_again(self, oldest: Lasting) -> None:
        left = oldest.started + LASTS_SECONDS - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(left, _PAUSE_SECONDS), self._look)

    def _look(self) -> None:
        self._timer = None
        while self._untold:
            number, oldest = next(iter(self._untold.items()))
            if time.monotonic() - oldest.started < LASTS_SECONDS:
                self._look_again(oldest)
                return
            del self._untold[number]
            try:
                oldest.tell_start()
            except Exception as error:  # noqa: BLE001 (whatever it is, nothing goes on without its event)
                log.warning("start_not_recorded", error=type(error).__name__)
                oldest.abandon()

"""What is on its way to the relay: cut off in the middle, it might go out twice."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from airut_common.bus import Retry

AFTER_STOP = timedelta(seconds=1)


class Sending:
    """Counts what is under way, and ends with it."""

    def __init__(self) -> None:
        self._stopping = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """While a mail is sent.

        Raises:
            Retry: the service is about to stop.
        """
        if self._stopping:
            raise Retry("the gateway stops", AFTER_STOP)
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def finish(self, timeout_seconds: float) -> None:
        """Begin no further sending and wait for what is under way."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()

"""A bounded buffer in front of the bus for those who must never wait: events of tasks and requests."""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

import structlog

from airut_common.bus.errors import BusUnavailable

CAPACITY = 20_000
MAX_BYTES = 64 * 1024 * 1024
BATCH = 128
RETRY_SECONDS = 0.25
SLOWEST_RETRY_SECONDS = 2.0

log = structlog.get_logger()


class SoonBuffer:
    """First in, first stored. Full means that the newest is dropped, and counted."""

    def __init__(self, store_once: Callable[[str, bytes, str], Awaitable[None]]) -> None:
        self._store_once = store_once
        self._waiting: deque[tuple[str, bytes, str]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._taken = 0
        self._gone = 0
        self._flushing: list[tuple[int, asyncio.Future[None]]] = []
        """How many must be gone, and who waits for it."""
        self.dropped = 0

    def put(self, subject: str, data: bytes, msg_id: str | None = None) -> bool:
        """Take a message in without waiting; False when it was dropped. None makes a `msg_id`."""
        if len(self._waiting) >= CAPACITY or self._bytes + len(data) > MAX_BYTES:
            if not self.dropped:
                log.warning("events_dropped", reason="the bus is away or slow, and the buffer is full")
            self.dropped += 1
            return False
        self._waiting.append((subject, data, msg_id or uuid.uuid4().hex))
        self._bytes += len(data)
        self._taken += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._pump(), name="publish-soon")
        return True

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything that was taken in so far is stored, whatever comes meanwhile; False when time was too
        short."""
        if self._gone == self._taken:
            return True
        waiting = (self._taken, asyncio.get_running_loop().create_future())
        self._flushing.append(waiting)
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiting[1]
        except TimeoutError:
            return False
        finally:
            self._flushing.remove(waiting)
        return True

    async def close(self, timeout_seconds: float) -> None:
        """Flush for a moment, then stop."""
        await self.flush(timeout_seconds)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._waiting:
            log.warning("events_lost_at_stop", count=len(self._waiting))

    async def _pump(self) -> None:
        delay = RETRY_SECONDS
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            # All are sent before the first acknowledgement is waited for; one connection keeps their order. What is
            # behind a failed one is sent again with it, so that order holds; the stream drops what it has by its id.
            results = await asyncio.gather(
                *(self._store_once(*item) for item in batch), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BusUnavailable):
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, SLOWEST_RETRY_SECONDS)
                    break
                if isinstance(result, BaseException):
                    log.error("event_not_storable", reason=repr(result))
                self._bytes -= len(self._waiting.popleft()[1])
                self._gone += 1
                delay = RETRY_SECONDS
            self._tell()
        if self.dropped:
            log.warning("events_were_dropped", count=self.dropped)
            self.dropped = 0
        self._task = None

    def _tell(self) -> None:
        for count, done in self._flushing:
            if self._gone >= count and not done.done():
                done.set_result(None)

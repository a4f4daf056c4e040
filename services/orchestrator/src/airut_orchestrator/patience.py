"""Waiting for a bus that is away for a moment, and work that goes on beside other work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from airut_common.bus import BusUnavailable

RETRY_SECONDS = 0.25
SLOWEST_RETRY_SECONDS = 5.0


async def patiently[T](ask: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Ask until there is an answer.

    Raises:
        BusUnavailable: there was none for `seconds`.
    """
    loop = asyncio.get_running_loop()
    end, delay = loop.time() + seconds, RETRY_SECONDS
    while True:
        try:
            return await ask()
        except BusUnavailable:
            if loop.time() > end:
                raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, SLOWEST_RETRY_SECONDS)


@asynccontextmanager
async def beside[T](work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` while the block goes on; it is cancelled when the block fails."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

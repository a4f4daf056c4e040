"""Following a bucket beside other work, for as long as a context is open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import structlog

from airut_common.bus.core import Bus
from airut_common.bus.errors import BusUnavailable
from airut_common.bus.keys import KvEntry

FIRST_SECONDS = 20.0

log = structlog.get_logger()


@asynccontextmanager
async def watching(
    bus: Bus, bucket: str, pattern: str, take: Callable[[KvEntry], Awaitable[None]]
) -> AsyncIterator[None]:
    """Give every entry to `take`, those that are there before the context begins. An entry that `take` fails on is
    logged and left out; the next ones still come.

    Raises:
        BusUnavailable: what is there could not be read in time.
    """
    complete = asyncio.Event()

    async def follow() -> None:
        async with aclosing(bus.kv_watch(bucket, pattern)) as entries:
            async for entry in entries:
                if entry is None:
                    complete.set()
                    continue
                try:
                    await take(entry)
                except Exception:
                    log.exception("entry_failed", bucket=bucket, key=entry.key)

    task = asyncio.get_running_loop().create_task(follow(), name=f"watch-{bucket}")
    try:
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await complete.wait()
        except TimeoutError:
            raise BusUnavailable(f"{bucket} was not read within {FIRST_SECONDS:g} s") from None
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def snapshot(bus: Bus, bucket: str, pattern: str = ">") -> dict[str, bytes]:
    """All keys that have a value now.

    Raises:
        BusUnavailable: not read in time.
    """
    found: dict[str, bytes] = {}
    try:
        async with asyncio.timeout(FIRST_SECONDS), aclosing(bus.kv_watch(bucket, pattern)) as entries:
            async for entry in entries:
                if entry is None:
                    return found
                found.pop(entry.key, None)
                if entry.value is not None:
                    found[entry.key] = entry.value
    except TimeoutError:
        pass
    raise BusUnavailable(f"{bucket} was not read within {FIRST_SECONDS:g} s")

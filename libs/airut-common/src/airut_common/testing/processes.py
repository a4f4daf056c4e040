"""Other processes: what they started, and their end."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path


def children(pid: int) -> list[int]:
    """What the main thread of a process has started and not yet buried."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ended(pids: Iterable[int], timeout_seconds: float = 30) -> None:
    """Wait until all of them have ended, buried or not; TimeoutError."""
    async with asyncio.timeout(timeout_seconds):
        for pid in pids:
            await _ended(pid)


async def _ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, told.set)  # pidfd_open(2): readable at the end
    try:
        await told.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)

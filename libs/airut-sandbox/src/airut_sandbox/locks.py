"""Advisory locks between tasks and processes of one host, with a deadline."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

_POLL_SECONDS = 0.02


@contextlib.asynccontextmanager
async def file_lock(path: Path, *, timeout_seconds: float, shared: bool = False) -> AsyncIterator[None]:
    """Hold `flock(2)` on `path`, which is created with its folder and stays. The kernel drops it when the process dies.

    Raises:
        TimeoutError: somebody else held it all the time.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(timeout_seconds):
            # Polled, because flock has no waiting that a deadline could end.
            while not _try_lock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""The demo's own folder: private, held by one run at a time, emptied when the next one begins."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from airut_common.processes import run
from airut_demo.errors import DemoFailed

LOCK = "lock"


@asynccontextmanager
async def demo_folder(path: Path) -> AsyncIterator[Path]:
    """The folder, mode 0700 and empty but for its lock, which is held while the context is open.

    Raises:
        DemoFailed: another run holds it, it is not ours, or it cannot be emptied.
    """
    path = path.absolute()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise DemoFailed(f"{path}: this is not a folder of yours; remove it, or start from another folder")
    path.chmod(0o700)
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(
                f"{path}: a demo is running here; stop it first, or use a second clone"
            ) from None
        await _empty(path)
        yield path
    finally:
        os.close(descriptor)


async def _empty(path: Path) -> None:
    left = [entry for entry in path.iterdir() if entry.name != LOCK]
    for entry in left:
        if entry.is_dir() and not entry.is_symlink():
            await asyncio.to_thread(shutil.rmtree, entry, ignore_errors=True)
        else:
            entry.unlink()
    left = [entry for entry in left if os.path.lexists(entry)]
    if left and os.geteuid() != 0:
        # A sandbox may leave files of its other users, which are our subordinate ids.
        await run(["podman", "unshare", "rm", "-rf", "--", *map(str, left)], timeout_seconds=120, check=False)
    left = [entry for entry in left if os.path.lexists(entry)]
    if left:
        raise DemoFailed(
            f"{left[0]}: this is left of an earlier run and cannot be removed; remove it by hand"
        )

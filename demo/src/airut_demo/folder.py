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
INSTALLATION_LOCK = "state/lock"
STOPPING_SECONDS = 60.0


@asynccontextmanager
async def demo_folder(path: Path) -> AsyncIterator[Path]:
    """The folder, mode 0700, and nobody else's while the context is open. See `empty_folder`.

    Raises:
        DemoFailed: another run holds it, or it is not ours.
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
        if not _locks(descriptor):
            raise DemoFailed(f"{path}: a demo is running here; stop it first, or use a second clone")
        yield path
    finally:
        os.close(descriptor)


async def empty_folder(path: Path) -> None:
    """Remove what an earlier run left, once its installation has stopped.

    Raises:
        DemoFailed: it does not stop, or something cannot be removed.
    """
    await _until_stopped(path / INSTALLATION_LOCK)
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


async def _until_stopped(lock: Path) -> None:
    """An installation whose demo was killed may still be on its way out."""
    if not lock.exists():
        return
    with lock.open("rb") as file:
        try:
            async with asyncio.timeout(STOPPING_SECONDS):
                while not _locks(file.fileno()):  # noqa: ASYNC110 - a file lock has no event to wait for
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise DemoFailed(
                f"{lock.parent}: an installation of an earlier run does not stop; end it"
            ) from None


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

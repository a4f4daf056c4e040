"""A conversation's own full copy of a repository (architecture §5)."""

import asyncio
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from airut_common.processes import ProcessError, ProcessFailed, ProcessTimedOut, run
from airut_sandbox.errors import SandboxError
from airut_sandbox.git import Git, GitFailed, GitTimedOut
from airut_sandbox.git_progress import OnProgress
from airut_sandbox.mirror import Head, Mirror, MirrorError

_TELL_SECONDS = 1.0
_UNFINISHED = re.compile(
    rb"cp: cannot (?:stat|open) '.*/tmp_[^/]*'(?: for reading)?: No such file or directory"
)
"""What `cp` says of a file that a fetch took away under it: what it became was fetched later than what is needed."""


class WorkspaceExists(SandboxError):
    """The target is there already, and the host never runs git in a used workspace."""


async def create_workspace(
    mirror: Mirror,
    head: Head,
    target: Path,
    remote_url: str,
    *,
    timeout_seconds: float = 300,
    on_progress: OnProgress | None = None,
) -> None:
    """Make `target` a complete clone: no inode shared with the mirror, no alternates, no hooks, `origin` is
    `remote_url`, the default branch checked out at `head`. It appears all at once or not at all.

    Raises:
        WorkspaceExists: `target` is there already.
        MirrorError: the copy could not be made.
    """
    if os.path.lexists(target):
        raise WorkspaceExists(f"{target.name}: there is a workspace already")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    clone, objects = draft / "clone", draft / "objects"
    end = time.monotonic() + timeout_seconds
    try:
        draft.mkdir(mode=0o700)
        async with mirror.reading():
            await _together(
                _copy_objects(mirror, objects, end, on_progress), _clone(mirror, head, clone, remote_url, end)
            )
        await asyncio.to_thread(_own, clone, objects)
        # RENAME_NOREPLACE would need a syscall; a folder never replaces another one that holds anything.
        clone.rename(target)
    except (GitTimedOut, ProcessTimedOut) as error:
        raise MirrorError(
            "timed-out", f"the workspace took longer than {timeout_seconds:g} seconds"
        ) from error
    except (GitFailed, ProcessError, OSError) as error:
        raise MirrorError("broken", f"the workspace could not be made ({error})") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)


@asynccontextmanager
async def _telling(copied: Path, whole: Path, tell: OnProgress | None) -> AsyncIterator[None]:
    """Meanwhile, tell how much of a folder has been copied."""
    if tell is None:
        yield
        return
    telling = asyncio.create_task(_tell_size(copied, whole, tell))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell_size(copied: Path, whole: Path, tell: OnProgress) -> None:
    total = await asyncio.to_thread(_size_of, whole)
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        percent = min(100 * await asyncio.to_thread(_size_of, copied) // max(total, 1), 100)
        tell(f"copying objects: {percent} % ({total / 2**20:.0f} MiB)")


def _size_of(folder: Path) -> int:
    """Bytes of its packs, which are nearly everything where there is much."""
    return sum(file.stat().st_size for file in folder.glob("pack/*"))


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """All of it, side by side. The first failure ends the rest, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _clone(mirror: Mirror, head: Head, clone: Path, remote_url: str, end: float) -> None:
    """All but the objects, which it borrows until `_own`."""
    options = ("--shared", "--no-checkout", "--template=", "--no-recurse-submodules", "--branch", head.branch)
    await Git(protocols=("file",)).run(
        *("clone", "--quiet", *options, "--", str(mirror.path), str(clone)),
        timeout_seconds=end - time.monotonic(),
    )
    for args in (
        ("config", "remote.origin.url", remote_url),
        # The branch may have moved since `head` was read; the task sees what was announced.
        ("reset", "--quiet", "--hard", head.commit, "--"),
    ):
        await Git().run(*args, cwd=clone, timeout_seconds=end - time.monotonic())


async def _copy_objects(mirror: Mirror, copied: Path, end: float, on_progress: OnProgress | None) -> None:
    """`cp` uses reflinks where the file system has them, which git does not. Beside the clone: both only read."""
    async with _telling(copied, mirror.path / "objects", on_progress):
        done = await run(
            [
                "cp",
                "--recursive",
                "--reflink=auto",
                "--no-target-directory",
                "--",
                f"{mirror.path}/objects",
                str(copied),
            ],
            timeout_seconds=max(end - time.monotonic(), 0.001),
            env=os.environ | {"LC_ALL": "C"},
            check=False,
        )
    said = done.stderr.splitlines()
    if done.returncode and not (said and all(_UNFINISHED.fullmatch(line) for line in said)):
        raise ProcessFailed("cp", done)
    for unfinished in copied.glob("*/tmp_*"):  # of a fetch that runs right now
        unfinished.unlink()


def _own(clone: Path, copied: Path) -> None:
    """From now on the objects are the copied ones."""
    objects = clone / ".git" / "objects"
    shutil.rmtree(objects)
    copied.rename(objects)

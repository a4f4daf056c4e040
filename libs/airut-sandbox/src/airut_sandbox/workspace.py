"""A conversation's own full copy of a repository (architecture §5)."""

import asyncio
import os
import secrets
import shutil
import time
from pathlib import Path

from airut_common.processes import ProcessError, ProcessTimedOut, run
from airut_sandbox.errors import SandboxError
from airut_sandbox.git import Git, GitFailed, GitTimedOut
from airut_sandbox.mirror import Head, Mirror, MirrorError


class WorkspaceExists(SandboxError):
    """The target is there already, and the host never runs git in a used workspace."""


async def create_workspace(
    mirror: Mirror, head: Head, target: Path, remote_url: str, *, timeout_seconds: float = 300
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
    end = time.monotonic() + timeout_seconds
    try:
        async with mirror.reading():
            await _copy(mirror, head, draft, end)
        await _set_up(head, draft, remote_url, end)
        # RENAME_NOREPLACE would need a syscall; a folder never replaces another one that holds anything.
        draft.rename(target)
    except (GitTimedOut, ProcessTimedOut) as error:
        raise MirrorError(
            "timed-out", f"the workspace took longer than {timeout_seconds:g} seconds"
        ) from error
    except (GitFailed, ProcessError, OSError) as error:
        raise MirrorError("broken", f"the workspace could not be made ({error})") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)


async def _copy(mirror: Mirror, head: Head, draft: Path, end: float) -> None:
    """The refs by a clone that borrows its objects, then the objects themselves: `cp` uses reflinks where the
    file system has them, which git does not."""
    options = ("--shared", "--no-checkout", "--template=", "--no-recurse-submodules", "--branch", head.branch)
    await Git(protocols=("file",)).run(
        *("clone", "--quiet", *options, "--", str(mirror.path), str(draft)),
        timeout_seconds=end - time.monotonic(),
    )
    objects = draft / ".git" / "objects"
    (objects / "info" / "alternates").unlink()
    await run(
        [
            "cp",
            "--recursive",
            "--reflink=auto",
            "--no-target-directory",
            "--",
            f"{mirror.path}/objects",
            str(objects),
        ],
        timeout_seconds=max(end - time.monotonic(), 0.001),
    )
    for unfinished in objects.glob("pack/tmp_*"):  # of a fetch that runs right now
        unfinished.unlink()


async def _set_up(head: Head, draft: Path, remote_url: str, end: float) -> None:
    for args in (
        ("config", "remote.origin.url", remote_url),
        # The branch may have moved since `head` was read; the task sees what was announced.
        ("reset", "--quiet", "--hard", head.commit, "--"),
    ):
        await Git().run(*args, cwd=draft, timeout_seconds=end - time.monotonic())

"""Run other programs: argv only, always with a deadline, always ended as a group (row 65 of the field notes)."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEPT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Completed:
    """What a program left behind."""

    returncode: int
    stdout: bytes
    stderr: bytes


class ProcessError(Exception):
    """A program could not do its job. The text never holds its arguments: they may be private."""


class ProcessFailed(ProcessError):
    """It ended with another exit code than 0."""

    def __init__(self, program: str, completed: Completed) -> None:
        tail = completed.stderr[-2000:].decode("utf-8", "replace").strip()
        super().__init__(f"{program} ended with exit code {completed.returncode}: {tail}")
        self.completed = completed


class ProcessTimedOut(ProcessError):
    """It was killed because its time was over."""

    def __init__(self, program: str, timeout_seconds: float) -> None:
        super().__init__(f"{program} was killed after {timeout_seconds:g} s")


async def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    on_stderr: Callable[[bytes], None] | None = None,
) -> Completed:
    """Run a program to its end and return what it wrote. It inherits the descriptors `pass_fds` and no others.
    `on_stderr` gets its standard error as it comes, of which then only the end is returned; there is no `stdin` then.

    Raises:
        ProcessTimedOut: the deadline passed; the whole process group has been killed.
        ProcessFailed: the exit code is not 0 and `check` is set.
        ProcessError: the program could not be started.
    """
    try:
        process = await start_group(
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise ProcessError(f"{argv[0]} could not be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout_seconds):
            stdout, stderr = await _communicate(process, stdin, on_stderr)
    except TimeoutError:
        raise ProcessTimedOut(argv[0], timeout_seconds) from None
    finally:
        # Whatever happened, cancellation included: nothing of the group stays behind.
        await end_group(process)
    completed = Completed(process.returncode or 0, stdout, stderr)
    if check and completed.returncode != 0:
        raise ProcessFailed(argv[0], completed)
    return completed


async def start_group(*argv: str | Path, **options: Any) -> asyncio.subprocess.Process:
    """Start a program as the first of a group of its own; `options` are those of `create_subprocess_exec`. Cancelled
    before the program is in the caller's hands, it leaves nothing of the group behind.

    Raises:
        OSError: it could not be started.
    """
    start = asyncio.create_subprocess_exec(*argv, start_new_session=True, **options)
    starting = asyncio.ensure_future(start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # asyncio itself would end the first process alone. A callback: the wait may be cancelled, too.
        starting.add_done_callback(_kill_started)
        await asyncio.wait([starting])
        if _is_started(starting):
            await end_group(starting.result())
        raise


def _is_started(starting: asyncio.Future[asyncio.subprocess.Process]) -> bool:
    return not starting.cancelled() and starting.exception() is None


def _kill_started(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    if _is_started(starting):
        _kill_group(starting.result())


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a group, and see its first process end."""
    _kill_group(process)
    if process.returncode is None:
        await process.wait()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _communicate(
    process: asyncio.subprocess.Process, stdin: bytes | None, on_stderr: Callable[[bytes], None] | None
) -> tuple[bytes, bytes]:
    if on_stderr is None:
        return await process.communicate(stdin)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - both are pipes
    stdout, stderr = await asyncio.gather(process.stdout.read(), _tell(process.stderr, on_stderr))
    await process.wait()
    return stdout, stderr


async def _tell(stream: asyncio.StreamReader, on_chunk: Callable[[bytes], None]) -> bytes:
    """The end of what comes; each piece of it is told."""
    kept = b""
    while chunk := await stream.read(_KEPT_BYTES):
        on_chunk(chunk)
        kept = (kept + chunk)[-_KEPT_BYTES:]
    return kept

"""Everything that a task's agent wrote, as it came: a file while it runs, compressed afterwards. Bounded.

Written by a thread of its own, in pieces: no line waits for the disk, and an agent that writes faster than the disk
takes it waits itself.
"""

import asyncio
import contextlib
import gzip
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

import structlog

MAX_BYTES: Final = 256 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
FLUSH_SECONDS: Final = 1.0
"""What a quiet agent said is on the disk so soon."""
LEFT_OUT: Final = b"(What follows is left out: the log of a task holds 256 MiB.)\n"
SUFFIX: Final = ".log"
PACKED_SUFFIX: Final = ".log.gz"

log = structlog.get_logger()


class TaskLog:
    """One open log."""

    def __init__(self, file: IO[bytes] | None, threads: ThreadPoolExecutor) -> None:
        """`file` None: there was no place for one."""
        self._file = file
        self._threads = threads
        self._piece = bytearray()
        self._room = MAX_BYTES

    async def take(self, line: bytes) -> None:
        """One line without its end."""
        if self._room <= 0:
            return
        self._piece += line[: self._room] + b"\n"
        self._room -= len(line) + 1
        if self._room <= 0:
            self._piece += LEFT_OUT
        if len(self._piece) >= PIECE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Hand what was taken so far to the kernel. A disk that is full costs the log, never the task."""
        piece, self._piece = bytes(self._piece), bytearray()
        if not piece or self._file is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, _write, self._file, piece)
        except OSError as error:
            self._file = None
            log.warning("task_log_ends", reason=error.strerror)


class TaskLogs:
    """All logs of this host: a folder for each conversation, so that they go with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="task-log")

    @asynccontextmanager
    async def open(self, conversation: str, task: str) -> AsyncIterator[TaskLog]:
        """The log of one try of a task, a file of its own; packed at the end, or gone if no agent wrote anything."""
        folder = self.folder / conversation
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tries = (int(entry.name.split(".")[1]) for entry in folder.glob(f"{task}.*{SUFFIX}*"))
            path = folder / f"{task}.{max(tries, default=0) + 1}{SUFFIX}"
            path.touch(mode=0o600)
            file = path.open("ab", buffering=0)
        except OSError as error:
            log.warning("task_log_not_opened", reason=error.strerror)
            yield TaskLog(None, self._threads)
            return
        opened = TaskLog(file, self._threads)
        flushing = asyncio.get_running_loop().create_task(_flush_often(opened), name="task-log")
        try:
            yield opened
        finally:
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)
            await asyncio.shield(self._close(opened, file, path))

    async def _close(self, opened: TaskLog, file: IO[bytes], path: Path) -> None:
        await opened.flush()
        file.close()
        await asyncio.get_running_loop().run_in_executor(self._threads, pack, path)

    async def discard(self, conversation: str) -> None:
        """Remove the logs of a conversation.

        Raises:
            OSError: some are left.
        """
        folder = self.folder / conversation
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)

    async def pack_leftovers(self) -> None:
        """At start: what a killed process left open is as complete as it will be."""
        found = await asyncio.to_thread(lambda: list(self.folder.glob(f"*/*{SUFFIX}")))
        for path in found:
            await asyncio.get_running_loop().run_in_executor(self._threads, pack, path)


async def _flush_often(opened: TaskLog) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        await opened.flush()


def _write(file: IO[bytes], piece: bytes) -> None:
    """All of it: a disk that is nearly full takes less than it is given."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def pack(path: Path) -> None:
    """Compress a log, or remove an empty one; done twice, it is the same. A full disk leaves it as it is."""
    packed = path.with_name(path.name.removesuffix(SUFFIX) + PACKED_SUFFIX)
    draft = path.with_name(f".{packed.name}.new")
    try:
        if path.stat().st_size == 0:
            path.unlink()
            return
        draft.touch(mode=0o600)
        with (
            draft.open("wb") as target,
            path.open("rb") as source,
            gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as member,
        ):
            shutil.copyfileobj(source, member)
        draft.replace(packed)
        path.unlink()
    except OSError as error:
        log.warning("task_log_not_packed", file=path.name, reason=error.strerror)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)

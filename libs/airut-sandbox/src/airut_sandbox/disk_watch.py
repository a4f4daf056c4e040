"""Watches what a sandbox holds on the host's disk while it runs; see `disk` for what is decided and why."""

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import structlog

from .disk import TICK_SECONDS, Ceiling, Free, Held, HostDisk, Looked, Why, ceiling, should_look
from .errors import SandboxError
from .spec import SandboxSpec

_PROGRAM: Final = Path(__file__).with_name("disk_helper.py")
_SCAN_DEADLINE_SECONDS: Final = 600.0
_NOT_MEASURED: Final = "what the sandbox holds on the disk could not be measured"
_UNLIMITED: Final = 1 << 62

log = structlog.get_logger()


@dataclass(frozen=True)
class Helper:
    """The program that measures."""

    questions: asyncio.StreamWriter
    answers: asyncio.StreamReader
    errors: asyncio.StreamReader


class DiskWatch:
    """Of one sandbox. Its folders were opened before anything ran in them."""

    def __init__(self, spec: SandboxSpec, host: HostDisk, folders: list[int], helper: Helper) -> None:
        self._spec = spec
        self._host = host
        self._folders = folders
        self._helper = helper
        self._most = ceiling(spec.limits)
        self._last: Looked | None = None
        self._at_begin: int | None = None
        self._free_at_begin = self._free()
        self._looking: asyncio.Task[None] | None = None
        self._low_ticks = 0
        self._began_at = time.time()

    @property
    def held(self) -> Held | None:
        """What it held when it was measured last."""
        return self._last.held if self._last is not None else None

    async def allow_for_what_is_there(self) -> None:
        """For a conversation that is over its limits: it may run, and may grow by a little while it cleans up."""
        await self._look(Ceiling(_UNLIMITED, _UNLIMITED))
        self._most = ceiling(self._spec.limits, self.held)

    async def until(self, ended: asyncio.Event, stop: Callable[[Why], Awaitable[None]]) -> None:
        """Watch until it has ended; `stop` is called when it has to.

        Raises:
            SandboxError: it cannot be measured any more.
        """
        try:
            while not await _within(ended, TICK_SECONDS):
                why = await self._tick()
                if why is not None:
                    log.warning(
                        "sandbox_over_its_disk", sandbox=self._spec.name, why=why, held=str(self.held)
                    )
                    await stop(why)
                    break
            if self._looking is not None:
                await self._looking  # its answer is not to be taken for the next one's
        finally:
            self._host.forget(self._spec.name, time.monotonic())
            if self._looking is not None:
                self._looking.cancel()
                await asyncio.gather(self._looking, return_exceptions=True)

    async def kept(self) -> Held:
        """What outlives the container, against the limits themselves. Once it has ended.

        Raises:
            SandboxError: it cannot be measured.
        """
        most, last = ceiling(self._spec.limits), self._last
        is_near = last is None or last.held.over is not None or self._most != most
        # What cannot have changed by enough since it was measured last is not measured again: somebody waits.
        if is_near or last is None or should_look(last, most, self._free(), last.ended):
            return await self._measure(most, "kept")
        return last.held

    async def make_room(self) -> int:
        """Remove the largest files that it wrote, until the host has the space that it keeps for itself; how many.

        Raises:
            SandboxError: they cannot be removed.
        """
        wanted = self._spec.keep_free_bytes - self._free().bytes
        if wanted <= 0:
            return 0
        return int(await self._ask(f"clear {self._began_at} {wanted}"))

    async def _tick(self) -> Why | None:
        free, now = self._free(), time.monotonic()
        self._low_ticks = self._low_ticks + 1 if free.bytes < self._spec.keep_free_bytes else 0
        if self._looking is None and (
            should_look(self._last, self._most, free, now) or (self._low_ticks and self._is_old(now))
        ):
            self._looking = asyncio.create_task(self._look(self._most), name="sandbox disk scan")
        if self._looking is not None:
            # Most are quick. While one is not, the host's free space is watched all the same.
            await asyncio.wait([self._looking], timeout=TICK_SECONDS)
            if self._looking.done():
                self._looking.result()
                self._looking = None
        self._tell_growth(free)
        if self.held is not None and self.held.over is not None:
            return self.held.over
        # Twice in a row: until then everybody else has measured as well.
        if self._low_ticks < 2:
            return None
        victim = self._host.victim(free.bytes, self._spec.keep_free_bytes, now)
        return "host" if victim == self._spec.name else None

    def _tell_growth(self, free: Free) -> None:
        """As measured; while a measurement takes its time, the host's whole loss since the last one may be ours."""
        grown = 0 if self.held is None or self._at_begin is None else self.held.bytes - self._at_begin
        if self._looking is not None:
            before = self._free_at_begin if self._last is None else self._last.free
            grown += max(before.bytes - free.bytes, 0)
        self._host.grown[self._spec.name] = grown

    def _is_old(self, now: float) -> bool:
        return self._last is None or now - self._last.ended > max(TICK_SECONDS, self._last.took_seconds)

    async def _look(self, most: Ceiling) -> None:
        began, free = time.monotonic(), self._free()
        held = await self._measure(most)
        ended = time.monotonic()
        self._last = Looked(held, free, ended, ended - began)
        if self._at_begin is None:
            self._at_begin = held.bytes

    async def _measure(self, most: Ceiling, *words: str) -> Held:
        answer = (await self._ask(" ".join([str(most.bytes), str(most.files), *words]))).split()
        if len(answer) != 3 or answer[2] not in (*get_args(Why), "-"):
            raise SandboxError(_NOT_MEASURED)
        over: Why | None = next((why for why in get_args(Why) if why == answer[2]), None)
        return Held(int(answer[0]), int(answer[1]), over)

    async def _ask(self, line: str) -> str:
        try:
            self._helper.questions.write(f"{line}\n".encode())
            async with asyncio.timeout(_SCAN_DEADLINE_SECONDS):
                answer = await self._helper.answers.readline()
        except (OSError, TimeoutError) as error:
            raise SandboxError(_NOT_MEASURED) from error
        if not answer:
            reason = (await self._helper.errors.read(500)).decode("utf-8", "replace").strip()
            raise SandboxError(f"{_NOT_MEASURED}: {reason}")
        return answer.decode().strip()

    def _free(self) -> Free:
        found = [os.fstatvfs(folder) for folder in self._folders]
        return Free(
            min(each.f_bavail * each.f_frsize for each in found),
            # File systems without a fixed number of inodes say 0 of 0.
            min((each.f_favail if each.f_files else _UNLIMITED) for each in found),
        )


@asynccontextmanager
async def open_disk_watch(
    spec: SandboxSpec, host: HostDisk, *, pid: int, user_ns: int, layer: Path | None
) -> AsyncIterator[DiskWatch]:
    """Open what is to be measured, while nothing runs in it yet, and start the program that does. `layer` is what the
    container itself writes to; None: its whole root.

    Raises:
        SandboxError: it cannot be measured.
    """
    async with AsyncExitStack() as stack:
        try:
            folders = [_open(path, stack) for path in _writable(spec, layer or Path(f"/proc/{pid}/root"))]
            proc = _open(Path(f"/proc/{pid}/root/proc"), stack)
            namespace = _open_namespace(pid, user_ns, stack)
            memory = ",".join(str(device) for device in _memory_devices(pid))
            helper = await _start(stack, memory, namespace, proc, *folders)
        except OSError as error:
            raise SandboxError(f"{_NOT_MEASURED}: {error}") from error
        yield DiskWatch(spec, host, folders, helper)


async def _start(stack: AsyncExitStack, memory: str, namespace: int, *descriptors: int) -> Helper:
    process = await asyncio.create_subprocess_exec(
        # -I -S: neither the environment nor site-packages can add code to it.
        *(sys.executable, "-I", "-S", str(_PROGRAM), str(namespace), memory),
        *(str(number) for number in descriptors),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(namespace, *descriptors),
        env={},
        start_new_session=True,
    )
    stack.push_async_callback(_end, process)
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise SandboxError(_NOT_MEASURED)
    return Helper(process.stdin, process.stdout, process.stderr)


def _writable(spec: SandboxSpec, layer: Path) -> Iterator[Path]:
    yield layer
    for mount in spec.mounts:
        if not mount.read_only and stat.S_ISDIR(mount.source.lstat().st_mode):
            yield mount.source


def _open_namespace(pid: int, user_ns: int, stack: AsyncExitStack) -> int:
    descriptor = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    if os.fstat(descriptor).st_ino != user_ns:
        raise SandboxError("the sandbox is gone: its process has other namespaces now")
    return descriptor


def _memory_devices(pid: int) -> Iterator[int]:
    """Devices whose files are memory."""
    for path in ("/dev", "/dev/shm"):  # noqa: S108 (a mount point inside)
        yield os.stat(f"/proc/{pid}/root{path}").st_dev  # noqa: PTH116
    memory = os.memfd_create("airut")
    yield os.fstat(memory).st_dev
    os.close(memory)


def _open(path: Path, stack: AsyncExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


async def _end(helper: asyncio.subprocess.Process) -> None:
    if helper.returncode is None:
        helper.kill()
    await helper.wait()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True

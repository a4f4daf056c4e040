"""A container that was made and checked: attached, started, listened to, stopped."""

import asyncio
import select
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from airut_common.processes import ProcessError

from .attach import attach_network
from .creation import Created, Inspection
from .disk import Why
from .disk_watch import DiskWatch, open_disk_watch
from .errors import SandboxError, SandboxRefused
from .limits import count_oom_kills
from .podman import Podman
from .readback import Facts, differences
from .spec import SandboxSpec
from .streams import Pipe, feed, open_reader, pump_lines, read_tail

_PF_EXITING: Final = 0x4  # include/linux/sched.h
_DIED: Final = "the sandbox died before it was started"
_NOT_STARTED: Final = "the container could not be started"
_EXEC_SECONDS: Final = 5.0
_TERM_SECONDS: Final = 5.0
_END_SECONDS: Final = 30.0

OnLine = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class DiskEnd:
    """What became of the disk."""

    stopped: Why | None = None
    """Ended because of what it held."""
    still_over: Why | None = None
    """What it leaves behind is over this limit."""
    files_removed: int = 0
    """Of the largest that it wrote, to give the host its room back."""


@dataclass(frozen=True)
class Exit:
    """How the command ended. `code` is 128 + signal for one that was killed."""

    code: int
    timed_out: bool
    oom_killed: bool
    stopped: bool
    """Ended by `Sandbox.stop`."""
    stderr_tail: bytes
    """The last 16 KiB at most."""
    disk: DiskEnd = DiskEnd()


class Sandbox:
    """A container whose namespaces exist; the command starts with `run`."""

    def __init__(
        self, podman: Podman, spec: SandboxSpec, created: Created, look: Callable[[int], Facts]
    ) -> None:
        self.name: Final = spec.name
        self.pid: Final = created.pid
        """The container's first process, as the host numbers it."""
        self.limits_enforced: Final = created.limits_enforced
        """Whether the kernel holds it to its limits for memory, processes and CPU."""
        self._podman = podman
        self._spec = spec
        self._created = created
        self._look = look
        self._ended = asyncio.Event()
        self._starting = asyncio.Lock()
        self._oom_killed = False
        self._begun = False
        self._started = False
        self._stopping = False
        self._closed = False
        self._disk_stop: Why | None = None

    async def attach_network(self, socket: Path, token: str) -> None:
        """Give the sandbox's listeners to the egress-proxy behind `socket`; also after the proxy restarted.

        Raises:
            AttachFailed: with the reason; the sandbox then has no network.
        """
        created = self._created
        await attach_network(
            created.pid, user_ns=created.user_ns, net_ns=created.net_ns, socket=socket, token=token
        )

    async def inspected(self) -> Inspection:
        """What Podman says that it made. `run` asks by itself; whoever uses a sandbox without running it must.

        Raises:
            SandboxRefused: it is not what was asked for.
            SandboxError: Podman does not say.
        """
        return await asyncio.shield(self._created.inspection)

    @contextmanager
    def watched(self, on_end: Callable[[], None]) -> Iterator[None]:
        """Call `on_end` once if the first process dies while the context is open; for a sandbox that is not run."""
        loop, pidfd = asyncio.get_running_loop(), self._created.pidfd

        def ended() -> None:
            loop.remove_reader(pidfd)
            on_end()

        loop.add_reader(pidfd, ended)
        try:
            yield
        finally:
            loop.remove_reader(pidfd)

    async def run(
        self,
        stdin: bytes,
        on_line: OnLine,
        timeout_seconds: float,
        *,
        on_started: Callable[[], None] | None = None,
    ) -> Exit:
        """Start the command, give it `stdin` and then end of file, and hand each line of its output (without the
        line end) to `on_line`, in order. A line over 8 MiB is cut and ends in `CUT_MARK`. Can be called once. What
        `on_line` raises ends the command and comes out here. `on_started` is called when the command runs, confined as
        asked, just before it gets `stdin`.

        Raises:
            SandboxRefused: the running process is not confined as asked; it was killed before it got `stdin`.
            SandboxError: Podman could not start it.
        """
        if self._begun or self._closed:
            raise SandboxError("a sandbox runs its command once")
        self._begun = True
        if self._stopping:
            return self._stopped()
        # Podman would make a new process, unchecked and without a network, for a container whose own has died.
        if self._is_gone():
            raise SandboxError(_DIED)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._created.pidfd, self._note_end)
        try:
            created = self._created
            inspection = await self.inspected()
            async with open_disk_watch(
                *(self._spec, self._podman.disk),
                pid=created.pid,
                user_ns=created.user_ns,
                layer=inspection.layer,
            ) as disk:
                if self._spec.may_clean_up:
                    await disk.allow_for_what_is_there()
                done = await self._run(stdin, on_line, timeout_seconds, on_started, disk)
                return replace(done, disk=await self._disk_end(disk))
        except SandboxRefused:
            raise
        except SandboxError as error:
            # Stopped while it was starting: that is not an error of anybody.
            if self._stopping:
                return self._stopped()
            # Whatever was being done with it then, that it could not be done says less.
            if not self._started and self._is_gone():
                raise SandboxError(_DIED) from error
            raise
        finally:
            loop.remove_reader(self._created.pidfd)
            await self._signal(signal.SIGKILL)
            self._ended.set()

    async def stop(self) -> None:
        """End it: SIGTERM, SIGKILL after 5 s. Works in every state; `run` then returns with `stopped`."""
        self._stopping = True
        async with self._starting:
            started = self._started
        if started and not self._closed:
            await self._end()

    async def close(self) -> None:
        """Kill whatever runs and let go of the streams. `open_sandbox` calls it."""
        if not self._closed:
            await self._signal(signal.SIGKILL)
            self._closed = True
            self._ended.set()
            self._created.close()

    def _stopped(self) -> Exit:
        return Exit(128 + signal.SIGTERM, timed_out=False, oom_killed=False, stopped=True, stderr_tail=b"")

    async def _stop_for_disk(self, why: Why) -> None:
        """At once: each second that it is given it may write another gigabyte."""
        self._disk_stop = why
        await self._signal(signal.SIGKILL)

    async def _disk_end(self, disk: DiskWatch) -> DiskEnd:
        is_to_shrink = self._disk_stop == "host" and self._spec.takes_back_room
        removed = await disk.make_room() if is_to_shrink else 0
        return DiskEnd(self._disk_stop, (await disk.kept()).over, removed)

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._created.pidfd)
        # Now or never: with the container, the runtime removes its control groups.
        self._oom_killed = count_oom_kills(self._created.groups) > 0
        self._ended.set()

    async def _run(
        self,
        stdin: bytes,
        on_line: OnLine,
        timeout_seconds: float,
        on_started: Callable[[], None] | None,
        disk: DiskWatch,
    ) -> Exit:
        streams = self._created.streams
        output, output_transport = await open_reader(streams.stdout)
        errors, errors_transport = await open_reader(streams.stderr)
        lines = asyncio.create_task(pump_lines(output, on_line), name="sandbox output")
        tail = asyncio.create_task(read_tail(errors), name="sandbox errors")
        ended = asyncio.create_task(self._ended.wait(), name="sandbox end")
        watch = asyncio.create_task(disk.until(self._ended, self._stop_for_disk), name="sandbox disk")
        work: tuple[asyncio.Task[object], ...] = (lines, tail, ended, watch)
        try:
            timed_out = await self._until_end(stdin, work, timeout_seconds, on_started)
            return Exit(*await self._outcome(timed_out=timed_out), stderr_tail=tail.result())
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            output_transport.close()
            errors_transport.close()

    async def _until_end(
        self,
        stdin: bytes,
        work: tuple[asyncio.Task[object], ...],
        timeout_seconds: float,
        on_started: Callable[[], None] | None,
    ) -> bool:
        """Until the command is gone and all its output was handed over; answers whether its time was over."""
        timed_out = False
        input_transport = None
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._start()
                if on_started is not None:
                    on_started()
                input_transport = await feed(self._created.streams.stdin, stdin)
                await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
        except TimeoutError:
            # The command may be done and only its output still on the way.
            timed_out = not self._ended.is_set()
            await self._end()
        finally:
            # A transport that wrote everything has closed itself, and cannot be aborted any more.
            if input_transport is not None and input_transport.get_write_buffer_size():
                input_transport.abort()
        _, pending = await asyncio.wait(work, timeout=_END_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for task in work:
            if task.done():
                task.result()
        if pending:
            raise SandboxError("the output of the sandbox did not end with it")
        return timed_out

    async def _start(self) -> None:
        """Start, and look again: only now are the privileges of the command itself to be seen."""
        # As above, and once more, because time has passed. For the same reason `stop` waits until this is through.
        if self._is_gone():
            raise SandboxError(_DIED)
        async with self._starting:
            if self._stopping:
                raise SandboxError("the sandbox was stopped before it was started")
            await self._start_container()
            self._started = True
        if not self._is_the_same():
            await self._podman.run("kill", "--signal=KILL", self._created.id, check=False)
            raise SandboxError(_DIED)
        try:
            await self._wait_for_exec()
            found = differences(self._look(self.pid), replace(self._created.expected, executed=True))
        except OSError as error:
            found = [f"it could not be looked at: {error}"]
        # A process that is gone or going has nothing left to be compared.
        if found and not self._is_gone():
            await self._signal(signal.SIGKILL)
            raise SandboxRefused("the running sandbox is not confined as asked: " + "; ".join(found))

    async def _start_container(self) -> None:
        errors = Pipe()
        devnull = asyncio.subprocess.DEVNULL
        try:
            code = await self._podman.run_on(
                "start", self._created.id, stdin=devnull, stdout=devnull, stderr=errors.write_end
            )
            reason = errors.drain().decode("utf-8", "replace").strip()
        except (ProcessError, OSError) as error:
            raise SandboxError(f"{_NOT_STARTED}: {error}") from error
        finally:
            errors.close()
        if code:
            raise SandboxError(_DIED if self._is_gone() else f"{_NOT_STARTED}: {reason}")

    def _is_the_same(self) -> bool:
        """Whether the container still is the one that was checked, and not one that Podman made in its place."""
        try:
            return int(self._created.pid_file.read_text()) == self.pid
        except FileNotFoundError:
            # The monitor takes it away when everything is over.
            return True

    async def _wait_for_exec(self) -> None:
        """Until the runtime's own process has become the command. The kernel tells nobody, so this looks."""
        cmdline = Path(f"/proc/{self.pid}/cmdline")
        async with asyncio.timeout(_EXEC_SECONDS):
            while not self._is_gone() and cmdline.read_bytes() == self._created.stub:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def _is_gone(self) -> bool:
        """Whether it has ended or is about to: namespaces are taken from it before its end is announced."""
        if select.select([self._created.pidfd], [], [], 0)[0]:
            return True
        try:
            # Field 9, counted after the name, which may hold anything: see proc(5).
            flags = int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[6])
        except (FileNotFoundError, ProcessLookupError):
            return True
        return bool(flags & _PF_EXITING)

    async def _end(self) -> None:
        await self._signal(signal.SIGTERM)
        if not await self._ends_within(_TERM_SECONDS):
            await self._signal(signal.SIGKILL)
            if not await self._ends_within(_END_SECONDS):
                raise SandboxError("the sandbox does not end, although it was killed")

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def _signal(self, number: signal.Signals) -> None:
        """Signal the first process. It is first in a process namespace: when it goes, the kernel ends all others."""
        try:
            signal.pidfd_send_signal(self._created.pidfd, number)
        except ProcessLookupError:
            return
        except PermissionError:
            # It runs under another subordinate id; Podman may signal those.
            await self._podman.run("kill", f"--signal={number.value}", self._created.id, check=False)

    async def _outcome(self, *, timed_out: bool) -> tuple[int, bool, bool, bool]:
        """Exit code, timed out, out of memory, stopped."""
        try:
            code = await self._podman.run("wait", "--interval=20ms", self._created.id)
            oom = await self._podman.run(
                "container", "inspect", "--format={{.State.OOMKilled}}", self._created.id
            )
        except ProcessError as error:
            raise SandboxError(f"the outcome of the sandbox is not known: {error}") from error
        stopped = self._stopping and not timed_out
        return int(code.stdout), timed_out, self._oom_killed or oom.stdout.strip() == b"true", stopped

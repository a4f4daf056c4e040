"""Child processes that stay up: each restarted with backoff when it dies, all stopped in a given order."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airut_common.processes import end_group

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 15.0
STEADY_AFTER_SECONDS = 30.0
"""A child that ran this long begins again with the shortest delay."""

LineWriter = Callable[[str, str], None]
"""Takes the child's name and one line of its output."""


@dataclass(frozen=True)
class ChildSpec:
    """What to run. `environment` is the whole environment, nothing is inherited."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float = 15.0
    """Time between SIGTERM and SIGKILL."""
    cwd: Path | None = None


@dataclass
class Child:
    """One supervised process and how it has fared."""

    spec: ChildSpec
    write: LineWriter
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    _stopping: bool = field(default=False, init=False)

    async def supervise(self) -> None:
        """Run the child until `stop()`; when it dies by itself, start it again after a growing delay."""
        delay = FIRST_DELAY_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started = loop.time()
            code = await self._run_once()
            if self._stopping:
                return
            if loop.time() - started > STEADY_AFTER_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self.restarts += 1
            self.write(self.spec.name, f"{_ending(code)}; starting again in {delay:.2g} s")
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def stop(self) -> None:
        """End the child: SIGTERM, and SIGKILL to its whole group when it takes too long."""
        self._stopping = True
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.spec.stop_seconds):
                await process.wait()
        except TimeoutError:
            self.write(self.spec.name, f"did not stop within {self.spec.stop_seconds:.0f} s: killed")
            await end_group(process)

    def restart(self) -> None:
        """Have it end in order; `supervise` starts it again."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()

    async def _run_once(self) -> int:
        self.process = process = await asyncio.create_subprocess_exec(
            *_dies_with_us(self.spec.argv),
            env=dict(self.spec.environment),
            cwd=self.spec.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C must reach `airut up` alone: it stops the children in order.
            start_new_session=True,
        )
        if process.stdout is None:
            raise RuntimeError("a child was started without a pipe")
        await self._copy_lines(process.stdout)
        return await process.wait()

    async def _copy_lines(self, stream: asyncio.StreamReader) -> None:
        """Bounded by StreamReader's 64 KiB limit: an overlong line is written in pieces."""
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    self.write(self.spec.name, _text(end.partial))
                return
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            self.write(self.spec.name, _text(line))


def _dies_with_us(argv: Sequence[str]) -> list[str]:
    """Have the kernel end the child when `airut up` itself is killed; without setpriv it would live on."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *argv] if setpriv else list(argv)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"

import asyncio
import os
import signal
import sys

from airut.supervisor import Child, ChildSpec
from airut_common.testing.processes import ended


class Lines:
    """Collects what children write; lets a test wait for a line."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._changed = asyncio.Event()

    def write(self, name: str, line: str) -> None:
        self.seen.append(f"{name}: {line}")
        self._changed.set()

    async def wait_for(self, text: str, count: int = 1) -> None:
        async with asyncio.timeout(20):
            while sum(text in line for line in self.seen) < count:
                self._changed.clear()
                await self._changed.wait()


def python(code: str, **fields) -> ChildSpec:
    return ChildSpec("child", (sys.executable, "-u", "-c", code), dict(os.environ), **fields)


async def run(child: Child, lines: Lines, text: str, count: int = 1) -> asyncio.Task[None]:
    task = asyncio.create_task(child.supervise())
    await lines.wait_for(text, count)
    return task


async def test_a_child_that_is_killed_is_started_again() -> None:
    lines = Lines()
    child = Child(python("print('up', flush=True); import time; time.sleep(60)"), lines.write)
    task = await run(child, lines, "up")
    os.kill(child.process.pid, signal.SIGKILL)
    await lines.wait_for("was ended by SIGKILL; starting again")
    await lines.wait_for(": up", 2)
    assert child.restarts == 1
    await child.stop()
    await asyncio.wait_for(task, 10)


async def test_a_child_that_keeps_failing_is_started_with_growing_delays() -> None:
    lines = Lines()
    child = Child(python("raise SystemExit(3)"), lines.write)
    task = await run(child, lines, "ended with exit code 3", 3)
    await child.stop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    delays = [line.rsplit("in ", 1)[1] for line in lines.seen[:3]]
    assert delays == ["0.25 s", "0.5 s", "1 s"]


async def test_stop_is_graceful_and_not_followed_by_a_restart() -> None:
    lines = Lines()
    code = "import signal,sys,time\nsignal.signal(15, lambda *_: (print('bye', flush=True), sys.exit(0)))\nprint('up', flush=True)\ntime.sleep(60)"
    child = Child(python(code), lines.write)
    task = await run(child, lines, "up")
    await child.stop()
    await asyncio.wait_for(task, 10)
    assert lines.seen[-1] == "child: bye"
    assert child.process.returncode == 0


async def test_a_child_that_ignores_sigterm_is_killed_with_its_group() -> None:
    lines = Lines()
    code = (
        "import os,signal,subprocess,sys,time\nsignal.signal(15, signal.SIG_IGN)\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(60)'])\n"
        "print('up', grandchild.pid, flush=True)\ntime.sleep(60)"
    )
    child = Child(python(code, stop_seconds=0.3), lines.write)
    task = await run(child, lines, "up")
    grandchild = int(lines.seen[0].rsplit(" ", 1)[1])
    await child.stop()
    await asyncio.wait_for(task, 10)
    assert child.process.returncode == -signal.SIGKILL
    await ended([grandchild])


async def test_an_overlong_line_arrives_in_pieces_and_stops_nothing() -> None:
    lines = Lines()
    child = Child(
        python("print('x' * 300_000); print('after', flush=True); import time; time.sleep(60)"), lines.write
    )
    task = await run(child, lines, "after")
    assert sum(line.count("x") for line in lines.seen) == 300_000
    await child.stop()
    await asyncio.wait_for(task, 10)


async def test_bytes_that_are_no_text_are_shown_replaced() -> None:
    lines = Lines()
    child = Child(
        python(
            r"import sys,time; sys.stdout.buffer.write(b'\xff\xfe ok\n'); sys.stdout.flush(); time.sleep(60)"
        ),
        lines.write,
    )
    task = await run(child, lines, "ok")
    assert lines.seen == ["child: \ufffd\ufffd ok"]
    await child.stop()
    await asyncio.wait_for(task, 10)

"""Row 65: every program has a deadline and dies as a group."""

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from airut_common.processes import ProcessError, ProcessFailed, ProcessTimedOut, run
from airut_common.testing.processes import ended

LIMIT = 30


def of_this_thread() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()


async def test_it_returns_what_was_written_and_the_exit_code(tmp_path: Path) -> None:
    done = await run(
        ["sh", "-c", "cat; pwd; echo $X >&2; exit 3"],
        timeout_seconds=LIMIT,
        stdin=b"in ",
        env={"X": "err", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in " + f"{tmp_path}\n".encode(), b"err\n")


async def test_it_inherits_the_descriptors_that_are_meant_for_it_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("inherited")
    with (tmp_path / "file").open() as meant, (tmp_path / "file").open() as other:
        os.set_inheritable(other.fileno(), True)
        script = f"cat <&{meant.fileno()}; cat <&{other.fileno()}"
        done = await run(
            ["bash", "-c", script], timeout_seconds=LIMIT, pass_fds=[meant.fileno()], check=False
        )
    assert done.stdout == b"inherited"
    assert b"Bad file descriptor" in done.stderr


async def test_much_in_and_much_out_does_not_block() -> None:
    data = os.urandom(3_000_000)
    assert (await run(["cat"], timeout_seconds=LIMIT, stdin=data)).stdout == data


async def test_stdin_that_nobody_reads_is_no_failure() -> None:
    assert (await run(["true"], timeout_seconds=LIMIT, stdin=b"x" * 1_000_000)).returncode == 0


async def test_without_stdin_a_reader_sees_the_end() -> None:
    assert (await run(["cat"], timeout_seconds=LIMIT)).stdout == b""


async def test_a_failure_tells_the_end_of_stderr_and_never_the_arguments() -> None:
    with pytest.raises(ProcessFailed, match=r"^sh ended with exit code 4: the reason$") as caught:
        await run(["sh", "-c", "echo the reason >&2; exit 4", "secret-argument"], timeout_seconds=LIMIT)
    assert caught.value.completed.returncode == 4


@pytest.mark.parametrize("argv", [["no-such-program-here"], ["/etc/passwd"]])
async def test_what_cannot_be_started_says_so(argv: list[str]) -> None:
    with pytest.raises(ProcessError, match="could not be started"):
        await run(argv, timeout_seconds=LIMIT)


async def test_row_65_the_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(ProcessTimedOut, match=r"^sh was killed after 0.5 s$"):
        await run(["sh", "-c", script], timeout_seconds=0.5)
    await ended([int((tmp_path / "pid").read_text())])


async def test_row_65_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(
        run(
            ["sh", "-c", f"sleep 1000 & echo $! > {file}.new; mv {file}.new {file}; wait"],
            timeout_seconds=LIMIT,
        )
    )
    async with asyncio.timeout(LIMIT):
        while not file.exists():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended([int(file.read_text())])


async def test_row_65_cancelling_a_start_ends_the_whole_group(tmp_path: Path) -> None:
    """The program runs, and has children, before the loop hands it to who started it."""
    file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {file}.new; mv {file}.new {file}; wait"
    before = of_this_thread()
    task = asyncio.create_task(run(["sh", "-c", script], timeout_seconds=LIMIT))
    while of_this_thread() == before:
        # It is started in one step of the loop, and its pipes are connected in later ones.
        await asyncio.sleep(0)
    until = time.monotonic() + LIMIT
    while not file.exists() and time.monotonic() < until:
        os.sched_yield()  # the loop stands still
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended([int(file.read_text())])


async def test_a_child_left_behind_by_a_success_is_ended_too(tmp_path: Path) -> None:
    script = f"sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/pid"
    await run(["sh", "-c", script], timeout_seconds=LIMIT)
    await ended([int((tmp_path / "pid").read_text())])


async def test_a_signal_is_an_exit_code() -> None:
    done = await run(
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], timeout_seconds=LIMIT, check=False
    )
    assert done.returncode == -signal.SIGKILL


async def test_standard_error_is_told_as_it_comes_and_its_end_is_kept() -> None:
    script = "import sys; [sys.stderr.write('x' * 100_000) for _ in range(10)]; sys.stderr.write('end'); print('out')"
    told = 0

    def count(chunk: bytes) -> None:
        nonlocal told
        told += len(chunk)

    done = await run([sys.executable, "-c", script], timeout_seconds=30, on_stderr=count)
    assert told == 1_000_003
    assert (done.stdout, len(done.stderr), done.stderr[-4:]) == (b"out\n", 64 * 1024, b"xend")

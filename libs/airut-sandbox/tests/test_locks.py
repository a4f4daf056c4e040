"""Locks that wait no longer than asked, and die with their holder."""

import asyncio
import sys
from pathlib import Path

import pytest

from airut_sandbox.locks import file_lock


async def test_one_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with file_lock(tmp_path / "lock", timeout_seconds=10):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert most == 1


async def test_readers_share_and_a_writer_gives_up(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    async with (
        file_lock(lock, timeout_seconds=1, shared=True),
        file_lock(lock, timeout_seconds=1, shared=True),
    ):
        with pytest.raises(TimeoutError):
            async with file_lock(lock, timeout_seconds=0.1):
                pass


async def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path / "lock")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(TimeoutError):
        async with file_lock(tmp_path / "lock", timeout_seconds=0.1):
            pass
    holder.kill()
    await holder.communicate()
    async with file_lock(tmp_path / "lock", timeout_seconds=10):
        pass

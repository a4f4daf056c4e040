import asyncio
import gzip
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from airut_orchestrator import task_log
from airut_orchestrator.task_log import TaskLogs


@pytest.fixture
def logs(tmp_path: Path) -> TaskLogs:
    return TaskLogs(tmp_path / "logs")


def kept(logs: TaskLogs) -> dict[str, bytes]:
    paths = list(logs.folder.glob("c/*"))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    return {path.name: gzip.decompress(path.read_bytes()) for path in paths}


async def test_every_line_is_kept_as_it_came_and_each_try_has_a_file(logs: TaskLogs) -> None:
    for text in (b"first", b"second"):
        async with logs.open("c", "t") as opened:
            await opened.take(text)
            await opened.take(b"\x00\xff\x1b[31m not utf-8")
    assert kept(logs) == {
        "t.1.log.gz": b"first\n\x00\xff\x1b[31m not utf-8\n",
        "t.2.log.gz": b"second\n\x00\xff\x1b[31m not utf-8\n",
    }


async def test_what_nobody_wrote_to_leaves_nothing(logs: TaskLogs) -> None:
    async with logs.open("c", "t"):
        pass
    (logs.folder / "c" / "t.2.log").touch(mode=0o600)  # of a process that was killed
    await logs.pack_leftovers()
    assert kept(logs) == {}


async def test_a_try_never_takes_the_place_of_another(logs: TaskLogs) -> None:
    async with logs.open("c", "t"), logs.open("c", "t") as second:
        await second.take(b"second")
    async with logs.open("c", "t") as third:
        await third.take(b"third")
    assert kept(logs) == {"t.2.log.gz": b"second\n", "t.3.log.gz": b"third\n"}


async def test_what_a_killed_process_left_is_packed_at_the_next_start(logs: TaskLogs) -> None:
    async with logs.open("c", "t") as opened:
        await opened.take(b"one")
    (left := logs.folder / "c" / "t.2.log").write_bytes(b"two\nhal")
    left.chmod(0o600)
    for _ in range(2):
        await logs.pack_leftovers()
        left.write_bytes(b"two\nhal")  # as if it had died before it could be removed
    await logs.pack_leftovers()
    assert kept(logs) == {"t.1.log.gz": b"one\n", "t.2.log.gz": b"two\nhal"}


async def test_what_a_quiet_agent_said_is_on_the_disk_before_it_ends(logs: TaskLogs, monkeypatch) -> None:
    monkeypatch.setattr(task_log, "FLUSH_SECONDS", 0.01)
    async with logs.open("c", "t") as opened:
        await opened.take(b"thinking")
        async with asyncio.timeout(10):
            while (logs.folder / "c" / "t.1.log").read_bytes() != b"thinking\n":
                await asyncio.sleep(0.01)


async def test_a_flood_ends_at_the_bound_and_takes_no_memory(logs: TaskLogs, monkeypatch) -> None:
    monkeypatch.setattr(task_log, "MAX_BYTES", 100_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = b"x" * 1_000_000
    async with logs.open("c", "t") as opened:
        for _ in range(150):
            await opened.take(line)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024
    with gzip.open(next(logs.folder.glob("c/*"))) as packed:
        size, last = 0, b""
        while part := packed.read(1 << 20):
            size, last = size + len(part), part
    assert 99_000_000 < size < 101_100_000
    assert last.endswith(task_log.LEFT_OUT)


async def test_the_loop_goes_on_while_the_disk_is_slow(logs: TaskLogs) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with logs.open("c", "t") as opened:
        await opened.take(b"y" * 20_000_000)
        before = ticks
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    assert ticks > before, "packing is done elsewhere"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "airut-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.integration
async def test_a_full_disk_costs_the_log_and_not_the_task(small_disk: Path) -> None:
    logs = TaskLogs(small_disk / "logs")
    async with logs.open("c", "t") as opened:
        for _ in range(40):
            await opened.take(b"z" * 100_000)
    (path,) = logs.folder.glob("c/*")
    assert path.name in {"t.1.log", "t.1.log.gz"}


async def test_no_place_at_all_costs_the_log_and_not_the_task(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with TaskLogs(tmp_path / "file").open("c", "t") as opened:
        await opened.take(b"x")

"""What hostile files do to the host: in the container's own layer, and while they are measured. Rows 42, 44."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airut_sandbox import disk_helper
from airut_sandbox.disk import HostDisk
from airut_sandbox.disk_watch import DiskWatch, Helper
from airut_sandbox.testing.containers import Bench

pytestmark = pytest.mark.integration

DEEP = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(int(sys.argv[2])):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
open("end", "w").close()
"""


@pytest.mark.parametrize("depth", [200, 5000])
async def test_row_44_a_container_goes_however_deep_its_own_folders_are(bench: Bench, depth: int) -> None:
    """Podman removes the layer by itself."""
    done, _ = await bench.run(bench.spec("python3", "-c", DEEP, "/var/tmp", str(depth)))
    assert done.code == 0, done.stderr_tail
    assert await bench.containers() == []


class Program:
    """The program that measures, as the watch runs it."""

    def __init__(self, *folders: Path) -> None:
        numbers = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (Path("/proc"), *folders)]
        user = os.open("/proc/self/ns/user", os.O_RDONLY)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", disk_helper.__file__, str(user), "0", *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(user, *numbers),
            text=True,
            bufsize=1,
        )
        for number in (user, *numbers):
            os.close(number)

    def ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        return self._process.stdout.readline().strip()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


ALL = f"{1 << 60} {1 << 60} kept"


def test_row_42_what_a_link_leads_to_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    victim = tmp_path / "other" / "victim"
    victim.write_bytes(bytes(8 << 20))
    (folder / "file").symlink_to(victim)
    (folder / "tree").symlink_to(tmp_path / "other")
    (folder / "root").symlink_to("/")
    os.mkfifo(folder / "pipe")
    with Program(layer, folder) as helper:
        size, count, why = helper.ask(ALL).split()
        assert (int(count), why) == (5, "-")
        assert int(size) < 64 * 1024
        assert helper.ask(f"clear 0 {1 << 60}") == "0"
    assert victim.stat().st_size == 8 << 20


def test_row_44_room_is_made_by_what_the_task_wrote_the_largest_first(tmp_path: Path) -> None:
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder" / "deep").mkdir(parents=True)
    (folder / "old").write_bytes(bytes(16 << 20))
    os.sync()
    time.sleep(0.05)  # the clock of file times is coarse
    begun = time.time()
    time.sleep(0.05)
    for name, size in (("small", 1), ("large", 8), ("larger", 9)):
        (folder / name).write_bytes(bytes(size << 20))
    with Program(layer, folder.parent) as helper:
        assert helper.ask(f"clear {begun} {10 << 20}") == "2"
    assert sorted(path.name for path in folder.iterdir()) == ["old", "small"]


def test_row_44_more_names_for_a_file_do_not_keep_its_room(tmp_path: Path) -> None:
    """Neither a few names nor more than are looked at."""
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder").mkdir()
    (folder / "large").write_bytes(bytes(9 << 20))
    for number in range(disk_helper.MAX_CANDIDATES * 5):
        (folder / f"again-{number}").hardlink_to(folder / "large")
    (folder / "other").write_bytes(bytes(8 << 20))
    (folder / "small").write_bytes(bytes(1 << 20))
    with Program(layer, folder) as helper:
        helper.ask(f"clear 0 {10 << 20}")
        assert int(helper.ask(ALL).split()[0]) < 2 << 20
    assert (folder / "small").exists()


@pytest.mark.parametrize("depth", [300, 2000])
def test_row_44_depth_does_not_keep_a_files_room(tmp_path: Path, depth: int) -> None:
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder").mkdir()
    script = f"{DEEP}open('end', 'wb').write(bytes(16 << 20))"
    subprocess.run([sys.executable, "-c", script, str(folder), str(depth)], check=True)
    with Program(layer, folder) as helper:
        before = int(helper.ask(ALL).split()[0])
        assert helper.ask(f"clear 0 {10 << 20}") == "1"
        assert before - int(helper.ask(ALL).split()[0]) >= 16 << 20


def test_row_44_a_multitude_of_small_files_does_not_keep_its_room(tmp_path: Path) -> None:
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder").mkdir()
    count = disk_helper.MAX_CANDIDATES * 2
    for number in range(count):
        (folder / str(number)).write_bytes(b"x")
    with Program(layer, folder) as helper:
        assert helper.ask(f"clear 0 {1 << 40}") == str(count)


def test_row_42_folders_that_become_links_while_they_are_measured_lead_nowhere(tmp_path: Path) -> None:
    """Also none of the host's files is removed, whichever moment it is."""
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder").mkdir()
    host = tmp_path / "host"
    for name in ("a", "b"):
        (host / name).mkdir(parents=True)
        (host / name / "f").write_bytes(bytes(4 << 20))
    script = """
import os, sys
os.chdir(sys.argv[1])
for n in range(50): os.makedirs(f"d{n}/a/b", exist_ok=True)
print("up", flush=True)
while True:
    for n in range(50):
        os.rename(f"d{n}", "x"); os.symlink(sys.argv[2], f"d{n}"); os.unlink(f"d{n}"); os.rename("x", f"d{n}")
"""
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder), str(host)], stdout=subprocess.PIPE
        ) as swapper,
        Program(layer, folder) as helper,
    ):
        assert swapper.stdout is not None
        swapper.stdout.readline()
        for _ in range(200):
            size, _, why = helper.ask(ALL).split()
            assert why == "-"
            assert int(size) < 4 << 20
        swapper.kill()
        assert helper.ask(f"clear 0 {1 << 60}") == "0"
    assert sorted(path.name for path in host.rglob("f")) == ["f", "f"]


def test_row_44_depth_is_no_hiding_place(tmp_path: Path) -> None:
    (layer := tmp_path / "layer").mkdir()
    (folder := tmp_path / "folder").mkdir()
    subprocess.run([sys.executable, "-c", DEEP, str(folder), "2000"], check=True)
    with Program(layer, folder) as helper:
        assert helper.ask(ALL).split()[1:] == ["2002", "-"]
    # Only a wide and deep tree at a time is more than descriptors can be had for, and that is said.
    wide = "import os, sys; os.chdir(sys.argv[1])\nfor _ in range(260): os.mkdir('d'); os.chdir('d')\n"
    wide += "for n in range(600): os.mkdir(str(n))"
    (other := tmp_path / "other").mkdir()
    subprocess.run([sys.executable, "-c", wide, str(other)], check=True)
    with Program(layer, other) as helper:
        print(helper.ask(ALL))


async def test_row_44_the_host_is_watched_while_a_measurement_takes_its_time(
    bench: Bench, tmp_path: Path
) -> None:
    """A tree that takes for ever to walk buys no time to fill the disk in."""
    slow = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import sys\nfor line in sys.stdin: open(sys.argv[1]).read(); print('0 0 -', flush=True)"),
        str(tmp_path / "go-on"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.mkfifo(tmp_path / "go-on")
    assert slow.stdin is not None
    assert slow.stdout is not None
    assert slow.stderr is not None
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        watch = DiskWatch(
            bench.spec(keep_free_bytes=1 << 60),
            HostDisk(),
            [folder],
            Helper(slow.stdin, slow.stdout, slow.stderr),
        )
        stopped: list[str] = []

        async def stop(why: str) -> None:
            stopped.append(why)
            (tmp_path / "go-on").write_text("now")

        async with asyncio.timeout(10):
            await watch.until(asyncio.Event(), stop)
        assert stopped == ["host"]
    finally:
        os.close(folder)
        slow.stdin.close()
        await slow.wait()

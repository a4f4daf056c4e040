"""What a sandbox may hold on the host's disk, in real containers. Field-notes row 44."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from airut_sandbox.container import Exit
from airut_sandbox.errors import SandboxError
from airut_sandbox.testing.containers import LIMITS, Bench

pytestmark = pytest.mark.integration

SMALL = LIMITS.model_copy(update={"disk_mib": 256, "files": 5_000})


async def _filled(bench: Bench, script: str, **changes: object) -> tuple[Exit, float]:
    begun = time.monotonic()
    spec = bench.shell(script, **{"limits": SMALL, **changes})
    done, _ = await bench.run(spec, timeout_seconds=60)
    return done, time.monotonic() - begun


FILLERS = {
    "one file, written": ("dd if=/dev/zero of=/workspace/f bs=1M count=20000", "bytes"),
    "one file, at one stroke": ("fallocate -l 1G /workspace/f; sleep 60", "bytes"),
    "the container's own files": ("dd if=/dev/zero of=/var/tmp/f bs=1M count=20000", "bytes"),
    "a removed file that is still open": (
        "exec 3>/workspace/f; rm /workspace/f; dd if=/dev/zero bs=1M count=20000 >&3",
        "bytes",
    ),
    "deep down": (
        "cd /workspace; for i in $(seq 900); do mkdir d; cd d; done; dd if=/dev/zero of=f bs=1M count=20000",
        "bytes",
    ),
    "in a folder of somebody else": (
        "mkdir -m 700 /workspace/d; chown 1000:1000 /workspace/d; dd if=/dev/zero of=/workspace/d/f bs=1M count=20000",
        "bytes",
    ),
    "many small files": (
        "cd /workspace; python3 -c 'for i in range(10**6): open(str(i), \"w\").close()'; sleep 60",
        "files",
    ),
    "many names of one file": (
        "cd /workspace; touch f; python3 -c 'import os\nfor i in range(60000): os.link(\"f\", str(i))'; sleep 60",
        "files",
    ),
}


@pytest.mark.parametrize("filler", FILLERS)
async def test_row_44_a_disk_filler_is_stopped_within_seconds(bench: Bench, filler: str) -> None:
    script, why = FILLERS[filler]
    done, seconds = await _filled(bench, script)
    print(f"{filler}: stopped after {seconds:.1f} s")
    assert done.disk.stopped == why, done.stderr_tail
    assert done.code == 137
    assert seconds < 20


async def test_row_44_a_sparse_file_counts_by_what_it_takes(bench: Bench) -> None:
    done, _ = await _filled(bench, "truncate -s 100G /workspace/f; sleep 3; stat -c %s /workspace/f")
    assert (done.code, done.disk.stopped, done.disk.still_over) == (0, None, None)


async def test_memory_is_not_disk(bench: Bench) -> None:
    """It has a limit of its own."""
    tight = LIMITS.model_copy(update={"disk_mib": 64})
    script = "python3 -c 'import os,time; os.write(os.memfd_create(\"x\"), bytes(90 << 20)); time.sleep(3)'"
    done, _ = await bench.run(bench.shell(script, limits=tight))
    assert (done.code, done.disk.stopped) == (0, None)


async def test_what_goes_with_the_container_is_not_over_afterwards(bench: Bench) -> None:
    done, _ = await _filled(bench, "dd if=/dev/zero of=/var/tmp/f bs=1M count=20000")
    assert (done.disk.stopped, done.disk.still_over) == ("bytes", None)
    done, _ = await _filled(bench, "dd if=/dev/zero of=/workspace/f bs=1M count=20000")
    assert (done.disk.stopped, done.disk.still_over) == ("bytes", "bytes")


async def test_what_is_over_may_be_cleaned_up_and_not_filled_further(bench: Bench) -> None:
    with (bench.workspace / "f").open("wb") as file:
        file.write(bytes(400 << 20))
    done, _ = await _filled(bench, "sleep 3")
    assert done.disk.stopped == "bytes"
    done, _ = await _filled(bench, "echo x > /workspace/g; sleep 3", may_clean_up=True)
    assert (done.disk.stopped, done.disk.still_over) == (None, "bytes")
    done, _ = await _filled(bench, "dd if=/dev/zero of=/workspace/g bs=1M count=20000", may_clean_up=True)
    assert (done.disk.stopped, done.disk.still_over) == ("bytes", "bytes")
    done, _ = await _filled(bench, "rm /workspace/f /workspace/g; sleep 3", may_clean_up=True)
    assert (done.disk.stopped, done.disk.still_over) == (None, None)


async def test_row_44_what_would_fill_the_host_is_stopped_and_taken_back(bench: Bench, tmp_path) -> None:
    """The files that the task wrote go, so that everybody else can go on; what was there before stays."""
    (bench.workspace / "before").write_bytes(bytes(1 << 20))
    await asyncio.sleep(0.1)  # the clock of file times is coarse
    # Low on space, but not by so much that one goes that has not grown: whatever others do on this host meanwhile.
    keep = shutil.disk_usage(tmp_path).free * 3 // 2
    script = "sleep 3; echo 1 > /workspace/small; dd if=/dev/zero of=/workspace/f bs=1M count=9000"
    done, seconds = await _filled(bench, script, keep_free_bytes=keep, limits=LIMITS, takes_back_room=True)
    assert done.disk.stopped == "host"
    assert seconds > 3, "before it has grown, nobody blames it"
    assert done.disk.files_removed == 2
    assert [path.name for path in bench.workspace.iterdir()] == ["before"]


async def test_a_sandbox_that_cannot_be_measured_ends(bench: Bench) -> None:
    """No task without its limit."""

    async def kill(line: bytes) -> None:
        for helper in Path("/proc/self/task").glob("*/children"):
            for child in helper.read_text().split():
                if b"disk_helper" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)

    with pytest.raises(SandboxError, match="could not be measured"):
        await bench.run(bench.shell("echo up; sleep 60"), on_line=kill)
    assert await bench.containers() == []

"""What hostile processes try from inside a real container. Field-notes rows 10, 44, 47, 48, 64."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from airut_sandbox.container import open_sandbox
from airut_sandbox.testing.containers import LIMITS, Bench, Output

pytestmark = pytest.mark.integration

#: Leaves its session, its parents and its name behind, keeps every stream, and says that it lives.
DAEMON = """
import os, signal, time
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
while True:
    open("/workspace/alive", "w").close()
    time.sleep(0.01)
"""
_START_DAEMON = f"python3 -c '{DAEMON}'; until [ -e /workspace/alive ]; do sleep 0.02; done"


async def _nothing_lives(workspace: Path) -> bool:
    (workspace / "alive").unlink(missing_ok=True)
    await asyncio.sleep(0.2)  # long enough for a survivor to write again
    return not (workspace / "alive").exists()


async def test_row_44_a_daemon_ends_with_the_command_that_left_it_behind(bench: Bench) -> None:
    """It holds the agent's own output open, and must not hold up the answer either."""
    begun = time.monotonic()
    done, text = await bench.run(bench.shell(f"{_START_DAEMON}; echo done"))
    assert (done.code, text) == (0, "done")
    assert time.monotonic() - begun < 15
    assert await _nothing_lives(bench.workspace)
    assert await bench.containers() == []


async def test_row_64_what_ignores_sigterm_is_gone_within_the_five_seconds_of_a_stop(bench: Bench) -> None:
    script = f"trap '' TERM INT HUP; {_START_DAEMON}; echo up; while :; do sleep 1; done"
    async with open_sandbox(bench.podman, bench.shell(script)) as sandbox:
        up = asyncio.Event()

        async def on_line(line: bytes) -> None:
            up.set()

        running = asyncio.create_task(sandbox.run(b"", on_line, 60))
        await asyncio.wait_for(up.wait(), 20)
        begun = time.monotonic()
        await sandbox.stop()
        seconds = time.monotonic() - begun
        done = await running
    assert done.stopped
    assert done.code == 137
    assert 4.5 < seconds < 8, seconds
    assert await _nothing_lives(bench.workspace)


async def test_row_44_a_fork_bomb_ends_at_the_limit_and_with_its_container(bench: Bench) -> None:
    """Every process tries to become two; the host keeps its own."""
    if not bench.podman.limits_enforced:
        return  # another test shows that the sandbox says so; here it would bring down everybody's host
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    limits = LIMITS.model_copy(update={"pids": 64})
    spec = bench.shell(f"python3 -c '{bomb}' & sleep 2; echo over", limits=limits)
    async with open_sandbox(bench.podman, spec) as sandbox:
        running = asyncio.create_task(sandbox.run(b"", Output(), 8))
        most = 0
        while not running.done():
            most = max(most, _processes_beside(sandbox.pid))
            await asyncio.sleep(0.1)
        await running
        left = _processes_beside(sandbox.pid)
    assert 1 < most <= 64
    assert left == 0
    assert await bench.containers() == []


def _processes_beside(pid: int) -> int:
    """How many processes share a process namespace."""
    try:
        namespace = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    except OSError:
        return 0
    count = 0
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            count += path.stat().st_ino == namespace
        except OSError:
            continue
    return count


async def test_row_44_a_memory_bomb_ends_the_sandbox_and_nobody_else(bench: Bench) -> None:
    """Also in files of the memory: `/dev/shm` and files without a name count as its own."""
    bombs = {
        "heap": "python3 -c 'x = bytearray(1 << 30)'",
        "shm": "dd if=/dev/zero of=/dev/shm/f bs=1M; df --output=size -k /dev/shm | tail -1 > /workspace/shm",
        "memfd": "python3 -c 'import os; f = os.memfd_create(\"f\")\nfor _ in range(1024): os.write(f, bytes(1 << 20))'",
    }
    limits = LIMITS.model_copy(update={"memory_mib": 128})
    for name, bomb in bombs.items():
        done, _ = await bench.run(bench.shell(bomb, limits=limits), timeout_seconds=20)
        if name == "shm":
            assert int((bench.workspace / "shm").read_text()) <= 64_000
        else:
            assert done.oom_killed is bench.podman.limits_enforced, name


WRITE_ALL = """
import os, stat
for top in ("/proc", "/sys"):
    for folder, folders, files in os.walk(top):
        if folder == "/proc":
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
        for name in files:
            path = os.path.join(folder, name)
            try:
                file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                # What is masked is the null device.
                if stat.S_ISREG(os.fstat(file).st_mode) and os.write(file, b"0"):
                    print(path)
            except OSError:
                pass
            os.close(file)
print("end")
"""


async def test_row_47_no_file_of_proc_sys_and_cgroups_takes_a_write(bench: Bench) -> None:
    """Whatever a kernel shows there: each one is tried. A process's own files are its own."""
    done, text = await bench.run(bench.spec("python3", "-c", WRITE_ALL), timeout_seconds=120)
    assert (done.code, text) == (0, "end"), done.stderr_tail


REFUSED = {
    "a program of the host for core files": "echo '|/workspace/x' > /proc/sys/kernel/core_pattern",
    "memory without a limit": "for f in $(find /sys/fs/cgroup -name memory.max -o -name memory.limit_in_bytes); do "
    "echo -1 > $f && exit 0; echo max > $f && exit 0; done; exit 1",
    "a group of its own": "for d in $(find /sys/fs/cgroup -name cgroup.procs -printf '%h '); do mkdir $d/x && exit 0; "
    "done; exit 1",
    "a program of the host for empty groups": "for f in $(find /sys/fs/cgroup -name release_agent); do echo /x > $f "
    "&& exit 0; done; exit 1",
    "a disk made": "mknod /tmp/sda b 8 0",
    "the kernel's memory made": "mknod /workspace/mem c 1 1",
    "the disk of the host": "find /dev -type b | grep .",
    "the kernel's memory": "head -c 1 /dev/mem | grep . || head -c 1 /proc/kcore | grep .",
    "keys of others": "grep . /proc/keys",
    "a new user namespace": "unshare --user true",
    "a new mount namespace": "unshare --mount true",
    "another process's namespaces": "nsenter --target 1 --mount true",
    "another root": "chroot / true",
    "the clock": "date -s 2000-01-01",
    "a limit raised": "ulimit -n 10000000",
    "a score that spares it when memory is short": "echo -1000 > /proc/self/oom_score_adj",
}


@pytest.mark.parametrize("attempt", REFUSED)
async def test_rows_10_and_47_it_is_refused(bench: Bench, attempt: str) -> None:
    script = f"if ( {REFUSED[attempt]} ) 2>/workspace/why; then echo done; else echo refused; fi"
    _, text = await bench.run(bench.shell(script))
    assert text.splitlines()[-1] == "refused"
    why = (bench.workspace / "why").read_text()
    assert "not found" not in why
    print(why[-200:])


CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
answer = eval(sys.argv[1])
print("done" if answer >= 0 else os.strerror(ctypes.get_errno()))
"""
CALLS = {
    "a file system": "libc.mount(b'x', b'/mnt', b'tmpfs', 0, None)",
    "sys made writable": "libc.mount(None, b'/sys', None, 32, None)",
    "a mask taken away": "libc.umount2(b'/proc/keys', 0)",
    "a module": "libc.init_module(b'x', 1, b'')",
    "a capability on a file": "libc.setxattr(b'/workspace', b'security.capability', bytes([0, 0, 0, 2] + [255] * 16), 20, 0)",
    "an attribute that only the kernel trusts": "libc.setxattr(b'/workspace', b'trusted.overlay.opaque', b'y', 1, 0)",
}


@pytest.mark.parametrize("call", CALLS)
async def test_rows_10_and_47_the_system_call_is_refused(bench: Bench, call: str) -> None:
    """Directly, where the image has no program for it."""
    done, text = await bench.run(bench.spec("python3", "-c", CALL, CALLS[call]))
    assert done.code == 0, done.stderr_tail
    assert text in {"Operation not permitted", "Function not implemented"}


async def test_row_47_a_setuid_program_gives_nobody_more_rights(bench: Bench) -> None:
    """no-new-privileges: one of the image's, and one of the agent's own."""
    script = """
    cp /usr/bin/id /usr/bin/python3.* /var/tmp/; chmod 4755 /var/tmp/*; ls -l /var/tmp/id | cut -c1-4
    setpriv --reuid=65534 --regid=65534 --clear-groups /var/tmp/id -u
    setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'su root -c "id -u" </dev/null 2>/dev/null || echo no'
    """
    _, text = await bench.run(bench.shell(script))
    assert text.split() == ["-rws", "65534", "no"]


async def test_row_48_there_is_no_way_out_by_the_tricks_of_proc(bench: Bench) -> None:
    """`/proc/self/root`, the root and folder of process 1, and descriptors: all of them are the container's own."""
    secret = bench.workspace.parent / "secret"
    secret.write_text("of the host")
    script = f"""
    for root in /proc/self/root /proc/1/root /proc/1/cwd/.. /proc/self/fd/0/.. /workspace/.. /proc/self/cwd/../..; do
      cat $root{secret} $root/../../../../../..{secret} 2>/dev/null
    done
    ls /proc | grep -c '^[0-9]'
    """
    _, text = await bench.run(bench.shell(script))
    assert "of the host" not in text
    assert int(text.split()[-1]) < 8
    assert os.access(secret, os.R_OK)

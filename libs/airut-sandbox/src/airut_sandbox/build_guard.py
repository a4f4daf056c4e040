"""Stands between us and `podman build`, so that nothing of a build outlives its time or ourselves.

Killing `podman build` leaves the container of its current step running for ever, reparented to init. This process is
where such orphans come instead (a subreaper), and it ends them all when its standard input closes: because the time
is over, the caller gave up, or the caller was killed. It runs on the standard library alone, as
`python -I build_guard.py COMMAND...`, and exits with the command's code.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_GRACE_SECONDS = 20.0


def main(command: list[str]) -> int:
    """Run `command` until it ends or standard input closes."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        return 125
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    ended = os.pidfd_open(child.pid)
    ready, _, _ = select.select([ended, sys.stdin], [], [])
    if ended not in ready:
        _end_gently(child.pid, ended)
        _kill(child.pid, signal.SIGKILL)
    code = child.wait()
    _end_orphans()
    return code if code >= 0 else 128 - code


def _end_gently(child: int, ended: int) -> None:
    """Kill the running step's container: Podman sees the step fail, and removes what it has built so far."""
    steps = [pid for pid in descendants(os.getpid()) if is_container_init(pid)]
    for pid in steps:
        _kill(pid, signal.SIGKILL)
    if not steps:
        _kill(child, signal.SIGTERM)
    select.select([ended], [], [], _GRACE_SECONDS)


def _end_orphans() -> None:
    """Kill what is left until nothing is. Orphans come to us, so none is missed."""
    end = time.monotonic() + _GRACE_SECONDS
    while (left := descendants(os.getpid())) and time.monotonic() < end:
        for pid in left:
            _kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(0.02)  # until the kernel has handed the children of the dead to us


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, nearest first."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the parent is the second field behind it.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found = list(children.get(pid, []))
    for current in found:  # grows while it is walked
        found += children.get(current, [])
    return found


def is_container_init(pid: int) -> bool:
    """Whether it is the first process of a pid namespace below ours: its death ends all others in there."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

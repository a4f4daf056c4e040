"""Memory of large mails goes back to the system, and how much it was."""

import contextlib
import ctypes
from pathlib import Path

_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 1024 * 1024


def return_large_blocks() -> None:
    """Let the C library give each large block back when it is freed.

    glibc raises its threshold to the largest block that was ever freed (mallopt(3)), so that after one mail of 30 MB
    all later ones lie in a heap that rarely shrinks. Setting it ends that. Other C libraries do without.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)


def peak_bytes() -> int:
    """The most that this process has held (proc(5): `VmHWM`; getrusage(2) counts what it was forked from, too)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0

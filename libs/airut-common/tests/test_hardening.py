"""What the kernel is asked for, as it sees it."""

import subprocess
import sys

SCRIPT = """
import ctypes, os, resource, sys
from airut_common.hardening import die_with, forbid_dumps
libc = ctypes.CDLL(None)
before = libc.prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
forbid_dumps()
die_with(os.getppid())
wanted = ctypes.c_int()
libc.prctl(2, ctypes.byref(wanted), 0, 0, 0)  # PR_GET_PDEATHSIG
print(before, libc.prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), wanted.value)
die_with(1 if os.getppid() != 1 else 2)
"""


def test_no_dumps_and_no_life_without_the_parent() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True)
    assert done.stdout.split() == ["1", "0", "(0,", "0)", "9"]
    assert "the parent has ended" in done.stderr

"""`openat2(2)` by number: glibc has no wrapper for it, and Python no binding."""

import ctypes
import errno
import functools
import os

#: The same on every architecture that has it (Linux 5.6, include/uapi/asm-generic/unistd.h).
_SYS_OPENAT2 = 437

_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE = _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _syscall() -> "ctypes._NamedFuncPointer":
    return ctypes.CDLL(None, use_errno=True).syscall


def openat2(root: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open `path` beneath the directory descriptor `root`, following no link and crossing no mount.

    Raises:
        OSError: ELOOP for a link, EXDEV for a way out, ENOSYS or EPERM where the kernel or a seccomp
            profile does not offer the call.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE)
    for _ in range(16):
        fd = _syscall()(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return int(fd)
        code = ctypes.get_errno()
        # EAGAIN: a rename happened somewhere while BENEATH was being checked; EINTR: a signal.
        if code not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(code, os.strerror(code), os.fsdecode(path))


@functools.cache
def available() -> bool:
    """Whether this kernel, under our own seccomp profile, offers the call."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(openat2(root, b".", os.O_PATH | os.O_DIRECTORY))
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EPERM}:
            return False
        raise
    finally:
        os.close(root)
    return True

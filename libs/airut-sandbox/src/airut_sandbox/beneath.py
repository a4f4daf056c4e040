"""Opening, reading, writing and removing what a sandbox has written, without ever leaving its folder.

Everything works from a directory descriptor and single steps: a name that a sandbox may have turned into a link,
a FIFO or a device is opened as a mere handle (`O_PATH`) first, looked at, and only then read.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airut_sandbox import openat2
from airut_sandbox.errors import SandboxError
from airut_sandbox.podman import Podman

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1024 * 1024


class NotPlain(Exception):
    """Not something to read: a link, a device, a FIFO, a hard link, too large. `str()` says which."""


class TreeNotRemoved(SandboxError):
    """Parts of a tree belong to another user and could not be removed from here."""


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """A descriptor of a directory whose own parents are ours; its last component may not be a link."""
    fd = os.open(path, _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def handle_beneath(root: int, path: str) -> Iterator[int]:
    """An `O_PATH` handle of whatever `path` is beneath `root`; a link as last component is not followed.

    Raises:
        OSError: ELOOP or ENOTDIR when a parent is a link; EXDEV for `..`, an absolute path or another mount.
    """
    parent, _, name = path.rpartition("/")
    with contextlib.ExitStack() as stack:
        if parent:
            root = _walk(root, parent)
            stack.callback(os.close, root)
        _refuse_special(name)
        fd = os.open(name, _HANDLE, dir_fd=root)
        stack.callback(os.close, fd)
        yield fd


def _walk(root: int, folder: str) -> int:
    if openat2.available():
        return openat2.openat2(root, os.fsencode(folder), os.O_PATH | os.O_DIRECTORY)
    return walk_by_steps(root, folder)


def walk_by_steps(root: int, folder: str) -> int:
    """The directory `folder` beneath `root`, one component at a time: for kernels without `openat2`."""
    device = os.fstat(root).st_dev
    fd = os.dup(root)
    for name in folder.split("/"):
        _refuse_special(name)
        try:
            step = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = step
    if os.fstat(fd).st_dev != device:
        os.close(fd)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), folder)
    return fd


def _refuse_special(name: str) -> None:
    if name in {"", ".", ".."}:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)


def describe_kind(mode: int) -> str:
    """What a non-regular file is called in a refusal."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")


def read_plain(handle: int, *, max_bytes: int) -> bytes:
    """The bytes of the regular file behind an `O_PATH` handle.

    The file is opened through the handle, so it is the one that was looked at, whatever its name is now.

    Raises:
        NotPlain: not a regular file, more than one hard link, larger than `max_bytes`, or not readable by us.
    """
    _refuse_not_plain(os.fstat(handle), max_bytes)
    try:
        fd = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise NotPlain("its permissions keep it from being read") from error
    try:
        data = _read_up_to(fd, max_bytes)
    finally:
        os.close(fd)
    if data is None:  # it grew while it was read
        raise NotPlain(f"larger than {max_bytes} bytes")
    return data


def _refuse_not_plain(status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotPlain(f"{describe_kind(status.st_mode)}, not a file")
    if status.st_nlink != 1:
        raise NotPlain(f"a file with {status.st_nlink} hard links")
    if status.st_size > max_bytes:
        raise NotPlain(f"{status.st_size} bytes, larger than {max_bytes}")


def _read_up_to(fd: int, max_bytes: int) -> bytes | None:
    parts: list[bytes] = []
    left = max_bytes + 1
    while left and (part := os.read(fd, min(left, _CHUNK_BYTES))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts) if left else None


def write_new(root: int, name: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that does not exist yet, directly beneath `root`.

    Raises:
        FileExistsError: something has that name, a dangling link included.
    """
    _refuse_special(name)
    fd = os.open(name, _NEW_FILE, mode, dir_fd=root)
    with open(fd, "wb", closefd=True) as file:  # noqa: PTH123 - a descriptor, not a path
        os.fchmod(fd, mode)  # whatever the umask says
        file.write(data)


@dataclass(frozen=True)
class Entry:
    """A name in a folder and what it is there and then."""

    name: str
    is_folder: bool


def list_folder(fd: int, limit: int) -> tuple[list[Entry], bool]:
    """At most `limit` entries of an open directory, sorted by name, and whether there were more."""
    entries: list[Entry] = []
    with os.scandir(fd) as found:
        for item in found:
            if len(entries) >= limit:
                return sorted(entries, key=lambda entry: entry.name), True
            entries.append(Entry(item.name, item.is_dir(follow_symlinks=False)))
    return sorted(entries, key=lambda entry: entry.name), False


def remove_tree(path: Path) -> None:
    """Remove a folder that a sandbox has written. Nothing to do when it is not there.

    Folders are first moved up to the top one by one, so neither depth nor the number of open descriptors
    grows with what the sandbox has built, and no name is ever resolved through more than one step.

    Raises:
        TreeNotRemoved: something in it belongs to another user (subordinate ids of a rootless container).
    """
    try:
        parent = os.open(path.parent, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove_beneath(parent, path.name)
    except PermissionError as error:
        raise TreeNotRemoved(f"{path.name}: {error.strerror}") from error
    finally:
        os.close(parent)


def _remove_beneath(parent: int, name: str) -> None:
    try:
        root = _open_to_empty(parent, name)
    except FileNotFoundError:
        return
    if root is None:
        os.unlink(name, dir_fd=parent)
        return
    try:
        while _empty_once(root):
            pass
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=parent)


def _open_to_empty(parent: int, name: str) -> int | None:
    """A directory's descriptor, its permissions widened so that it can be emptied; None when it is no directory."""
    handle = os.open(name, _HANDLE, dir_fd=parent)
    try:
        status = os.fstat(handle)
        if not stat.S_ISDIR(status.st_mode):
            return None
        if status.st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 - the handle, whatever its name is now
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def _empty_once(root: int) -> bool:
    """One pass over `root`: files go, folders hand their sub-folders up and go. False when nothing was left."""
    names = [entry.name for entry in os.scandir(root)]
    for name in names:
        folder = _open_to_empty(root, name)
        if folder is None:
            os.unlink(name, dir_fd=root)
            continue
        try:
            _flatten(root, folder)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=root)
    return bool(names)


def _flatten(root: int, folder: int) -> None:
    for entry in list(os.scandir(folder)):
        inner = _open_to_empty(folder, entry.name)
        if inner is None:
            os.unlink(entry.name, dir_fd=folder)
            continue
        os.close(inner)
        os.rename(entry.name, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=root)


async def discard_tree(path: Path, podman: Podman | None = None, *, timeout_seconds: float = 300) -> None:
    """Remove a tree that a sandbox has written, race-safe.

    In a rootless container only root is our own user: what others wrote belongs to subordinate ids, which
    only a process in the same user namespace (`podman unshare`) may remove.

    Raises:
        TreeNotRemoved: files of another user, and no rootless `podman` to remove them with.
    """
    try:
        await asyncio.to_thread(remove_tree, path)
    except TreeNotRemoved:
        if podman is None or not podman.rootless:
            raise
        await podman.run(
            "unshare", "rm", "-rf", "--one-file-system", "--", str(path), timeout_seconds=timeout_seconds
        )

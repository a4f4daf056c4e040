"""Measure what one sandbox holds on the host's disk, as often as it is asked.

A program, not a module: `python -I -S disk_helper.py USER_NS MEMORY PROC FOLDER...`. All but `MEMORY` are open
descriptors: the user namespace to enter, the sandbox's own `/proc`, and the folders to measure; `MEMORY` are numbers of
devices (`1,2`) whose files are memory, which has a limit of its own. Each line `MAX_BYTES MAX_FILES` on standard
input is answered by `BYTES FILES WHY` on standard output. It looks no further than a limit, and `WHY` says which one
was reached: `bytes`, `files`, `depth`, or `-`. With the word `kept` behind, only what outlives the container counts:
not the first folder, which is its own, and no open files. A line `clear SINCE BYTES`, once nothing runs any more,
removes the largest files that were changed after `SINCE` (seconds) until so many bytes are free, and is answered by
their number.

It is a process of its own for two reasons. In a rootless sandbox folders may belong to subordinate ids and be closed to
us; only a single-threaded process may enter the user namespace in which they can be read. And a tree of a million
files costs seconds of a processor, which the service's event loop is not to wait for.
"""

import os
import stat
import sys

MAX_DEPTH = 256
"""Of open folders in each other; what lies deeper is looked at afterwards, as if it were a folder of its own."""
MAX_DEEP = 500
"""Of these at a time, for each costs a descriptor. Nobody has honest use for so many folders so deep."""
MAX_DESCRIPTORS = 100_000
"""Of the sandbox's processes, looked at in one go."""
MAX_CANDIDATES = 5_000
"""So many files are removed before it is looked again."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512


class Reached(Exception):
    """A limit was reached; `str()` names it."""


class Count:
    """What was found so far, and where the looking ends."""

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self.bytes = 0
        self.files = 0
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._linked: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> None:
        """One name, or one open file without a name. Blocks count, not lengths; a file with several names once."""
        self.files += 1
        if self.files > self._max_files:
            raise Reached("files")
        if status.st_nlink != 1 and not stat.S_ISDIR(status.st_mode):
            key = (status.st_dev, status.st_ino)
            if key in self._linked:
                return
            self._linked.add(key)
        self.bytes += status.st_blocks * _BLOCK
        if self.bytes > self._max_bytes:
            raise Reached("bytes")


def main(arguments: list[str]) -> None:
    """Answer until standard input ends."""
    enter(int(arguments[0]))
    in_memory = {int(number) for number in arguments[1].split(",")}
    proc, *folders = (int(number) for number in arguments[2:])
    for line in sys.stdin:
        words = line.split()
        if words[0] == "clear":
            answer = str(clear(folders, float(words[1]), int(words[2])))
        else:
            count = Count(int(words[0]), int(words[1]))
            kept = words[2:] == ["kept"]
            answer = measure(None if kept else proc, folders[kept:], in_memory, count)
        os.write(1, f"{answer}\n".encode())


def enter(user_ns: int) -> None:
    """Join a user namespace, unless it is ours: as root, sandboxes have none of their own."""
    if os.fstat(user_ns).st_ino != os.stat("/proc/self/ns/user").st_ino:  # noqa: PTH116
        os.setns(user_ns, os.CLONE_NEWUSER)


def measure(proc: int | None, folders: list[int], in_memory: set[int], count: Count) -> str:
    """The answer to one question."""
    why = "-"
    try:
        if proc is not None:
            add_open_files(proc, in_memory, count)
        for folder in folders:
            add_tree(folder, count)
    except Reached as limit:
        why = str(limit)
    return f"{count.bytes} {count.files} {why}"


def add_open_files(proc: int, in_memory: set[int], count: Count) -> None:
    """Files that were removed and are still open: they have no name to be found by, and take room all the same."""
    looked_at = 0
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            folder = os.open(f"{name}/fd", _FOLDER, dir_fd=proc)
        except OSError:  # the process has ended
            continue
        try:
            for number in os.listdir(folder):  # noqa: PTH208
                looked_at += 1
                if looked_at > MAX_DESCRIPTORS:
                    return
                add_open_file(folder, number, in_memory, count)
        except OSError:
            continue
        finally:
            os.close(folder)


def add_open_file(folder: int, number: str, in_memory: set[int], count: Count) -> None:
    """One descriptor of a process."""
    try:
        status = os.stat(number, dir_fd=folder)
    except OSError:  # closed meanwhile
        return
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_dev not in in_memory:
        count.add(status)


def add_tree(root: int, count: Count) -> None:
    """Everything beneath a folder. No link is followed; what is moved or removed meanwhile may be missed."""
    count.add(os.fstat(root))
    deep = [os.dup(root)]
    try:
        while deep:
            add_down_to(deep.pop(), deep, count)
    finally:
        for folder in deep:
            os.close(folder)


def add_down_to(top: int, deep: list[int], count: Count) -> None:
    """What lies beneath `top`, which is closed afterwards; folders that are too far down are left in `deep`."""
    opened: list[tuple[int, list[str]]] = [(top, [])]
    try:
        opened[0] = (top, add_entries(top, count))
        while opened:
            folder, names = opened[-1]
            if not names:
                os.close(folder)
                opened.pop()
            elif (inner := open_inner(folder, names.pop())) is None:
                pass
            elif len(opened) >= MAX_DEPTH:
                deep.append(inner)
                if len(deep) > MAX_DEEP:
                    raise Reached("depth")
            else:
                opened.append((inner, []))
                opened[-1] = (inner, add_entries(inner, count))
    finally:
        for folder, _ in opened:
            os.close(folder)


def open_inner(folder: int, name: str) -> int | None:
    """A folder in a folder; None when it is not there any more, or is none. Reading it leaves no trace inside."""
    for flags in (_FOLDER | os.O_NOATIME, _FOLDER):
        try:
            return os.open(name, flags, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            if flags == _FOLDER:
                raise
        except OSError as error:
            if error.errno == 40:  # ELOOP: a link now; the module `errno` would be one more import
                return None
            raise
    return None


def add_entries(folder: int, count: Count) -> list[str]:
    """Count what a folder holds itself; the names of its folders."""
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            count.add(status)
            if stat.S_ISDIR(status.st_mode):
                folders.append(entry.name)
    return folders


def clear(folders: list[int], since: float, wanted: int) -> int:
    """Remove files that were changed after `since`, the largest first, until `wanted` bytes are free."""
    freed = removed = 0
    while freed < wanted:
        # Folders that are too far down are looked through as if they were folders of their own, as in `add_tree`.
        roots = [os.dup(folder) for folder in folders]
        try:
            found = largest(roots, since)
            for size, number, path in found:
                if freed >= wanted:
                    break
                remove(roots[number], path)
                freed += size
                removed += 1
        finally:
            for root in roots:
                os.close(root)
        if not found:
            break
    return removed


def largest(roots: list[int], since: float) -> list[tuple[int, int, tuple[str, ...]]]:
    """The largest files beneath `roots`, which grows by the folders that are too far down."""
    found: list[tuple[int, int, tuple[str, ...]]] = []
    linked: set[tuple[int, int]] = set()
    for number, root in enumerate(roots):
        collect(root, (number, (), since), found, roots, linked)
    return sorted(found, reverse=True)[:MAX_CANDIDATES]


def collect(
    folder: int,
    where: tuple[int, tuple[str, ...], float],
    found: list[tuple[int, int, tuple[str, ...]]],
    roots: list[int],
    linked: set[tuple[int, int]],
) -> None:
    """Large files beneath a folder, as bytes, number of the root, and path; `where` is that number, the path so far,
    and since when. Folders that are too far down are added to `roots`. A file with several names is found once,
    and noted in `linked`. Nothing runs in it any more."""
    number, path, since = where
    with os.scandir(folder) as entries:
        listed = list(entries)
    for entry in listed:
        status = entry.stat(follow_symlinks=False)
        inside = (*path, entry.name)
        if stat.S_ISDIR(status.st_mode):
            inner = open_inner(folder, entry.name)
            if inner is None:
                continue
            if len(inside) >= MAX_DEPTH and len(roots) < MAX_DEEP:
                roots.append(inner)
                continue
            if len(inside) < MAX_DEPTH:
                collect(inner, (number, inside, since), found, roots, linked)
            os.close(inner)
        elif stat.S_ISREG(status.st_mode) and status.st_blocks and status.st_ctime >= since:
            if status.st_nlink != 1:
                if (status.st_dev, status.st_ino) in linked:
                    continue
                linked.add((status.st_dev, status.st_ino))
            found.append((status.st_blocks * _BLOCK, number, inside))
            if len(found) >= 4 * MAX_CANDIDATES:
                found.sort(reverse=True)
                del found[MAX_CANDIDATES:]


def remove(root: int, path: tuple[str, ...]) -> None:
    """Remove one file, found by single steps, and what it holds if it has other names. No file of the host has a name
    here."""
    folder = os.dup(root)
    for name in path[:-1]:
        inner = os.open(name, _FOLDER, dir_fd=folder)
        os.close(folder)
        folder = inner
    if os.stat(path[-1], dir_fd=folder, follow_symlinks=False).st_nlink != 1:
        file = os.open(path[-1], _FILE, dir_fd=folder)
        os.ftruncate(file, 0)
        os.close(file)
    os.unlink(path[-1], dir_fd=folder)
    os.close(folder)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as failure:
        os.write(2, f"{failure}\n".encode())
        sys.exit(1)

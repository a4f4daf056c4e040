"""Files out of and into a sandbox: `/outbox` and `/inbox` as the host sees them.

Both folders may have been written by a hostile program. Call these while no container runs in them.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from airut_sandbox import names
from airut_sandbox.beneath import (
    NotPlain,
    handle_beneath,
    list_folder,
    open_folder,
    read_plain,
    remove_tree,
    write_new,
)

MANIFEST = "manifest.json"
#: A reply names this many refusals; the rest is counted in one line.
_MAX_REFUSALS = 50


@dataclass(frozen=True)
class OutboxLimits:
    """Caps on what is taken out; the first three follow `SandboxConfig`."""

    max_files: int = 20
    max_file_bytes: int = 10 * 1024 * 1024
    max_total_bytes: int = 20 * 1024 * 1024
    max_depth: int = 8
    """Folders below the outbox itself."""
    max_entries: int = 2_000
    """Names looked at, so that a million empty files cost nothing."""


@dataclass(frozen=True)
class OutFile:
    """A file to return. `name` is safe to show and to attach, and unique in its collection."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Refusal:
    """Something left behind: its path in the outbox, safe to show, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collected:
    """What an outbox held, in the order of names."""

    files: tuple[OutFile, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class InboxFile:
    """An attachment on its way in; `name` is whatever the sender called it."""

    name: str
    data: bytes
    media_type: str = "application/octet-stream"
    message: int = 1
    """Which of the messages that are handed over together brought it, from 1."""


@dataclass(frozen=True)
class InboxEntry:
    """One line of `manifest.json`: the file's name in the folder, what the sender called it, and which message brought
    it."""

    file: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    message: int


def collect_outbox(folder: Path, limits: OutboxLimits) -> Collected:
    """Read what may be returned; regular files only, no link followed, no FIFO waited for.

    Blocking: run it in a thread. An outbox that is not there, or was replaced by something else, is an empty
    one with a refusal.
    """
    collection = _Collection(limits)
    try:
        with open_folder(folder) as root:
            collection.walk(root, "", 0)
    except FileNotFoundError:
        return Collected((), ())
    except OSError as error:
        return Collected((), (Refusal(folder.name, f"not a readable folder ({error.strerror})"),))
    return collection.result()


class _Collection:
    """One walk: what was taken, what was refused, and how much of the limits is left."""

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._entries_left = limits.max_entries
        self._total_bytes = 0
        self._files: list[OutFile] = []
        self._names = names.UniqueNames()
        self._refused: list[Refusal] = []
        self._not_named = 0

    def walk(self, folder: int, path: str, depth: int) -> None:
        entries, more = list_folder(folder, self._entries_left)
        self._entries_left -= len(entries)
        if more:
            self._refuse(
                path or ".", f"more than {self._limits.max_entries} files and folders: the rest was not read"
            )
        for entry in entries:
            self._take(folder, entry.name, f"{path}{entry.name}", depth)

    def _take(self, folder: int, name: str, path: str, depth: int) -> None:
        try:
            with handle_beneath(folder, name) as handle:
                if stat.S_ISDIR(os.fstat(handle).st_mode):
                    self._descend(handle, path, depth)
                else:
                    self._read(handle, path)
        except NotPlain as refusal:
            self._refuse(path, str(refusal))
        except OSError as error:
            self._refuse(path, f"cannot be read ({error.strerror})")

    def _descend(self, handle: int, path: str, depth: int) -> None:
        if depth >= self._limits.max_depth:
            raise NotPlain(f"folders deeper than {self._limits.max_depth}")
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
        try:
            self.walk(folder, f"{path}/", depth + 1)
        finally:
            os.close(folder)

    def _read(self, handle: int, path: str) -> None:
        if len(self._files) >= self._limits.max_files:
            raise NotPlain(f"more than {self._limits.max_files} files")
        data = read_plain(handle, max_bytes=self._limits.max_file_bytes)
        if self._total_bytes + len(data) > self._limits.max_total_bytes:
            raise NotPlain(f"all files together are larger than {self._limits.max_total_bytes} bytes")
        self._total_bytes += len(data)
        self._files.append(OutFile(self._names.take(path), data))

    def _refuse(self, path: str, reason: str) -> None:
        if len(self._refused) < _MAX_REFUSALS:
            self._refused.append(Refusal(names.shown(path), reason))
        else:
            self._not_named += 1

    def result(self) -> Collected:
        refused = list(self._refused)
        if self._not_named:
            refused.append(Refusal("…", f"{self._not_named} more were refused"))
        return Collected(tuple(self._files), tuple(refused))


def fill_inbox(folder: Path, files: Iterable[InboxFile]) -> tuple[InboxEntry, ...]:
    """Empty and re-make `folder`, then write `files` and `manifest.json` into it as new files.

    The parent of `folder` must be the host's own. Blocking: run it in a thread.

    Raises:
        TreeNotRemoved: the old folder holds files of subordinate ids; `discard_tree` removes those.
    """
    remove_tree(folder)
    with open_folder(folder.parent) as parent:
        os.mkdir(folder.name, 0o755, dir_fd=parent)
        with handle_beneath(parent, folder.name) as handle:
            os.chmod(f"/proc/self/fd/{handle}", 0o755)  # noqa: PTH101, S103 - the handle, not a name; umask-proof
            entries = tuple(_write_all(handle, files))
            write_new(handle, MANIFEST, _manifest(entries))
    return entries


def _write_all(folder: int, files: Iterable[InboxFile]) -> Iterator[InboxEntry]:
    unique = names.UniqueNames(MANIFEST)
    for file in files:
        name = unique.take(file.name)
        write_new(folder, name, file.data)
        yield InboxEntry(
            file=name,
            name=names.shown(file.name),
            media_type=names.shown(file.media_type),
            size_bytes=len(file.data),
            sha256=hashlib.sha256(file.data).hexdigest(),
            message=file.message,
        )


def _manifest(entries: tuple[InboxEntry, ...]) -> bytes:
    document = {"files": [asdict(entry) for entry in entries]}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"

"""A folder out of a commit, checked before a byte of it is written (field-notes row 73)."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airut_sandbox import names
from airut_sandbox.mirror_errors import MirrorError

_KINDS = {
    "100644": "a file",
    "100755": "a file",
    "120000": "a link",
    "160000": "a submodule",
    "040000": "a folder",
}
_MAX_LINK_BYTES = 4096


@dataclass(frozen=True)
class TreeLimits:
    """What an exported folder may hold."""

    max_files: int = 2_000
    max_total_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class TreeEntry:
    """One line of `git ls-tree -l`; `path` is relative to where the listing began."""

    mode: str
    object_id: str
    size_bytes: int
    path: str

    @property
    def kind(self) -> str:
        """In words, for messages."""
        return _KINDS.get(self.mode, "something unknown")

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return self.kind == "a file"

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return self.kind == "a link"


def parse_ls_tree(output: bytes) -> list[TreeEntry]:
    """The entries of `git ls-tree -z -l`.

    Raises:
        MirrorError: `broken`: the local copy lacks the content of one.
    """
    entries: list[TreeEntry] = []
    for record in output.split(b"\0"):
        if not record:
            continue
        head, _, path = record.partition(b"\t")
        mode, _, object_id, size = head.decode().split()
        if size == "BAD":
            raise MirrorError("broken", f"the local copy has lost {os.fsdecode(path)!r}")
        entries.append(TreeEntry(mode, object_id, 0 if size == "-" else int(size), os.fsdecode(path)))
    return entries


def check_tree(entries: Sequence[TreeEntry], folder: str, limits: TreeLimits) -> list[TreeEntry]:
    """The entries with paths relative to `folder`, when all of them may be written.

    Raises:
        MirrorError: `unusable-tree`, naming the first entry that may not.
    """
    if len(entries) > limits.max_files:
        raise _unusable(folder, f"more than {limits.max_files} files")
    if sum(entry.size_bytes for entry in entries) > limits.max_total_bytes:
        raise _unusable(folder, f"larger than {limits.max_total_bytes} bytes")
    for entry in entries:
        _check_entry(entry)
    return [replace(entry, path=entry.path.removeprefix(f"{folder}/")) for entry in entries]


def _check_entry(entry: TreeEntry) -> None:
    if not (entry.is_file or entry.is_link):
        raise _unusable(entry.path, f"{entry.kind} cannot be used here")
    if entry.is_link and entry.size_bytes > _MAX_LINK_BYTES:
        raise _unusable(entry.path, "the link's target is too long")
    if any(part.lower() in {"", ".", "..", ".git"} for part in entry.path.split("/")):
        raise _unusable(entry.path, "not an acceptable name")


def _unusable(path: str, reason: str) -> MirrorError:
    return MirrorError("unusable-tree", f"{names.shown(path)}: {reason}")


def split_batch(output: bytes, entries: Sequence[TreeEntry]) -> list[bytes]:
    """The contents that `git cat-file --batch` printed for `entries`, in their order.

    Raises:
        MirrorError: `broken`, when an object is missing or is not what was announced.
    """
    contents: list[bytes] = []
    position = 0
    for entry in entries:
        head = f"{entry.object_id} blob {entry.size_bytes}\n".encode()
        begin = position + len(head)
        end = begin + entry.size_bytes
        if output[position:begin] != head or output[end : end + 1] != b"\n":
            raise MirrorError(
                "broken", f"{names.shown(entry.path)}: its content is missing in the local copy"
            )
        contents.append(output[begin:end])
        position = end + 1
    return contents


def write_tree(target: Path, entries: Sequence[TreeEntry], contents: Iterable[bytes]) -> None:
    """Write files (0644 or 0755) and links below the new folder `target`.

    Raises:
        MirrorError: `unusable-tree`, when a link leads out of the folder; `target` is not made then.
        FileExistsError: `target` is there already.
    """
    pairs = list(zip(entries, contents, strict=True))
    for entry, data in pairs:
        if entry.is_link and not stays_inside(entry.path, os.fsdecode(data)):
            raise _unusable(entry.path, "a link that leads out of the folder")
    target.mkdir(mode=0o700)
    for entry, data in pairs:
        path = target / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.is_link:
            path.symlink_to(os.fsdecode(data))
        else:
            _write_file(path, data, 0o755 if entry.mode == "100755" else 0o644)


def _write_file(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)  # whatever the umask says
        file.write(data)


def stays_inside(path: str, target: str) -> bool:
    """Whether a link at `path` can only lead to something in its tree.

    The folders above a link are real ones, so climbing no further than they go stays inside. After the climb only
    names may follow: a `..` behind a name could start from wherever another link led.
    """
    if not target or target.startswith("/") or "\0" in target:
        return False
    parts = [part for part in target.split("/") if part not in {"", "."}]
    climbs = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    return climbs <= path.count("/") and ".." not in parts[climbs:]

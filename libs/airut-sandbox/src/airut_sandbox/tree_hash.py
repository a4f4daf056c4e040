"""One hash for a folder's content: every part is preceded by its length, so no two trees read alike (row 73)."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def hash_parts(*parts: bytes) -> str:
    """SHA-256 in hex over parts that cannot run into each other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def hash_tree(folder: Path) -> str:
    """SHA-256 in hex over names, kinds, executable bits and contents. Owners and times do not count.

    Raises:
        ValueError: something in it is neither file, folder nor link.
    """
    return hash_parts(*_parts(folder, b""))


def _parts(folder: Path, prefix: bytes) -> Iterator[bytes]:
    with os.scandir(os.fsencode(folder)) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = prefix + entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from (b"folder", path)
            yield from _parts(folder / os.fsdecode(entry.name), path + b"/")
        elif stat.S_ISLNK(mode):
            yield from (b"link", path, os.readlink(entry.path))  # noqa: PTH115 - bytes
        elif stat.S_ISREG(mode):
            yield from (b"program" if mode & 0o100 else b"file", path, _hash_file(entry.path))
        else:
            raise ValueError(f"{os.fsdecode(path)}: neither file, folder nor link")


def _hash_file(path: bytes) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - bytes, so that any name works
        return hashlib.file_digest(file, "sha256").digest()

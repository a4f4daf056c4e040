"""Looking for real credentials where they must not be."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass
class Searched:
    """The outcome of a search."""

    files: int = 0
    size_bytes: int = 0
    holders: list[Path] = field(default_factory=list)
    """Files that hold one of the values."""
    unread: list[Path] = field(default_factory=list)
    """Files that could not be read, so that nothing is known of them."""


def spellings(value: str) -> list[bytes]:
    """The value as it is, and as it looks within Base64 at each of the three offsets (RFC 4648 §4)."""
    raw = value.encode()
    found = [raw]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        # Characters at either end also depend on the neighbours of the value.
        first, last = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        found.append(encoded[first:last])
    return found


def occurs(data: bytes, values: Sequence[str]) -> bool:
    """Whether one of the values is in there, in any spelling."""
    return any(spelling in data for value in values for spelling in spellings(value))


def search_files(roots: Sequence[Path], values: Sequence[str]) -> Searched:
    """Every regular file below the roots (or the root itself); links are not followed. Files may come and go
    meanwhile. Blocking."""
    outcome = Searched()
    for path in _files(roots):
        try:
            size, held = _search(path, values)
        except FileNotFoundError:
            continue
        except OSError:
            outcome.unread.append(path)
            continue
        outcome.files += 1
        outcome.size_bytes += size
        if held:
            outcome.holders.append(path)
    return outcome


def _files(roots: Sequence[Path]) -> Iterator[Path]:
    for root in roots:
        candidates = root.rglob("*") if root.is_dir() else iter([root])
        yield from (path for path in candidates if path.is_file() and not path.is_symlink())


def _search(path: Path, values: Sequence[str]) -> tuple[int, bool]:
    overlap = 2 * max(len(value.encode()) for value in values)
    size, before = 0, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            size += len(block)
            if occurs(before + block, values):
                return size, True
            before = block[-overlap:]
    return size, False

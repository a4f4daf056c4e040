"""Files out of and into a sandbox: `/outbox` and `/inbox` on the host side. Call after the container stopped."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OutboxLimits:
    """Caps on what is taken out; the field names follow `SandboxConfig`."""

    max_files: int = 20
    max_file_bytes: int = 10 * 1024 * 1024
    max_total_bytes: int = 20 * 1024 * 1024
    max_depth: int = 8
    max_entries: int = 2_000


@dataclass(frozen=True)
class OutFile:
    """A file to return. `name` is safe to show and to attach, and unique in its collection."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Refusal:
    """Something left behind: its name, safe to show, and why."""

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


@dataclass(frozen=True)
class InboxEntry:
    """One line of `manifest.json`: the file's name in the folder and what the sender called it."""

    file: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str


def collect_outbox(folder: Path, limits: OutboxLimits) -> Collected:
    """Read what may be returned; never follows a link, never blocks on a FIFO. Blocking: run it in a thread."""
    raise NotImplementedError


def fill_inbox(folder: Path, files: Iterable[InboxFile]) -> tuple[InboxEntry, ...]:
    """Empty and re-make `folder` and write `files` and `manifest.json`. Blocking: run it in a thread."""
    raise NotImplementedError

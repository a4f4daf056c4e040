"""Names the files that steer the agent, git or an editor and that a task changed (field-notes rows 40, 41).

They are compared by digest, read beneath a directory descriptor; no git runs in the workspace. Later tasks of the
conversation obey these files, so the person who reads the reply has to know.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airut_sandbox import names
from airut_sandbox.beneath import NotPlain, handle_beneath, list_folder, open_folder, read_plain

STEERING_PATHS = (
    ".claude",
    ".claude.json",
    ".envrc",
    ".git/commondir",
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".git/info/attributes",
    ".git/objects/info/alternates",
    ".gitattributes",
    ".gitmodules",
    ".husky",
    ".mcp.json",
    ".ripgreprc",
    ".vscode/tasks.json",
    "AGENTS.md",
    "CLAUDE.local.md",
    "CLAUDE.md",
)
#: Git writes down which branch follows which with every push, and that steers nothing.
_GIT_CONFIG = ".git/config"
_MAX_FILE_BYTES = 4 * 1024 * 1024
_MAX_ENTRIES = 2_000
_MAX_DEPTH = 12
_BRANCH = re.compile(rb'\[branch "[^"\\\]]*"\]')
_FOLLOWS = re.compile(rb"\s*(remote|merge|vscode-merge-base) = [\w./-]+")
#: A digest that equals no other, not even the same marker in another snapshot.
_UNKNOWN = "unknown:"


@dataclass(frozen=True)
class SteeringSnapshot:
    """A digest for each steering file that was there, by its path in the workspace."""

    digests: Mapping[str, str]


def snapshot_steering(workspace: Path) -> SteeringSnapshot:
    """Digests of the steering files; follows no link, and reads a bounded amount. Blocking: run it in a thread.

    Raises:
        OSError: there is no workspace.
    """
    with open_folder(workspace) as root:
        return SteeringSnapshot(dict(_digests(root)))


def changed_steering(before: SteeringSnapshot, after: SteeringSnapshot) -> tuple[str, ...]:
    """One line for each path that appeared, changed or went away, safe to show. What could not be read counts as
    changed."""
    lines: list[str] = []
    for path in sorted(before.digests.keys() | after.digests.keys()):
        old, new = before.digests.get(path), after.digests.get(path)
        if old == new and not (new or "").startswith(_UNKNOWN):
            continue
        lines.append(f"{names.shown(path)} ({_what_happened(old, new)})")
    return tuple(lines)


def _what_happened(old: str | None, new: str | None) -> str:
    if new is None:
        return "deleted"
    if new.startswith(_UNKNOWN):
        return new.removeprefix(_UNKNOWN)
    return "added" if old is None else "changed"


def _digests(root: int) -> Iterator[tuple[str, str]]:
    budget = _Budget(_MAX_ENTRIES)
    for path in STEERING_PATHS:
        yield from _digest_path(root, path, path, budget, depth=0)


@dataclass
class _Budget:
    entries: int


def _digest_path(
    folder: int, path: str, label: str, budget: _Budget, *, depth: int
) -> Iterator[tuple[str, str]]:
    try:
        with handle_beneath(folder, path) as handle:
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                yield from _digest_folder(handle, label, budget, depth)
            elif stat.S_ISLNK(mode):
                target = os.fsencode(os.readlink("", dir_fd=handle))
                yield label, f"link:{hashlib.sha256(target).hexdigest()}"
            else:
                yield label, _digest_file(handle, mode, label)
    except FileNotFoundError:
        return
    except OSError as error:  # a parent became a link or a file: that is a change to name, not a failure
        yield label, f"{_UNKNOWN}cannot be checked: {error.strerror}"


def _digest_file(handle: int, mode: int, label: str) -> str:
    try:
        data = read_plain(handle, max_bytes=_MAX_FILE_BYTES)
    except NotPlain as reason:
        return f"{_UNKNOWN}cannot be checked: {reason}"
    if label == _GIT_CONFIG:
        data = _without_branches(data)
    executable = "x" if mode & 0o111 else "-"
    return f"file:{executable}:{hashlib.sha256(data).hexdigest()}"


def _without_branches(config: bytes) -> bytes:
    """A git configuration without its sections `[branch "NAME"]`, as far as they say nothing but what follows what."""
    kept: list[bytes] = []
    in_branch = False
    for line in config.split(b"\n"):
        if line.startswith(b"["):
            in_branch = _BRANCH.fullmatch(line) is not None
        if not in_branch or not (_BRANCH.fullmatch(line) or _FOLLOWS.fullmatch(line)):
            kept.append(line)
    return b"\n".join(kept).strip()


def _digest_folder(handle: int, label: str, budget: _Budget, depth: int) -> Iterator[tuple[str, str]]:
    if depth >= _MAX_DEPTH:
        yield label, f"{_UNKNOWN}too deep to be checked"
        return
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
    try:
        entries, more = list_folder(folder, budget.entries)
        budget.entries -= len(entries)
        for entry in entries:
            yield from _digest_path(folder, entry.name, f"{label}/{entry.name}", budget, depth=depth + 1)
        if more:
            yield label, f"{_UNKNOWN}too many files to be checked"
    finally:
        os.close(folder)

"""Versions of the agent that were fetched once and that nobody has run for long. Each is hundreds of megabytes."""

import shutil
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .agent_binary import PROGRAM, is_version

USED: Final = "used"
"""A file beside a program; it was last run, or was about to be, when that was last touched."""


def note_use(program: Path) -> None:
    """Tell that a program is about to be run. A cache that cannot be written to is somebody else's to tidy."""
    with suppress(OSError):
        program.with_name(USED).touch(mode=0o644)


def old_agents(cache_dir: Path, *, before: datetime, wanted: Collection[str]) -> list[str]:
    """Versions below a cache that nobody has used since a moment, but for those that are `wanted`. Installations that
    share the cache leave their marks in the same place.

    Raises:
        OSError: the cache cannot be read, or somebody else tidies it at this moment.
    """
    found: list[str] = []
    for folder in sorted(cache_dir.glob("*/")):
        programs = list(folder.glob(f"*/{PROGRAM}"))
        if not programs or not is_version(folder.name) or folder.name in wanted:
            continue
        if all(_last_use(program) < before for program in programs):
            found.append(folder.name)
    return found


def remove_agent(cache_dir: Path, version: str) -> None:
    """Remove all programs of a version. A sandbox that runs one keeps it until its end.

    Raises:
        OSError: it is not gone.
    """
    shutil.rmtree(cache_dir / version)


def _last_use(program: Path) -> datetime:
    mark = program.with_name(USED)
    return datetime.fromtimestamp((mark if mark.exists() else program).stat().st_mtime, UTC)

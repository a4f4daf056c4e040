"""The Claude Code binary: fetched once per version from the npm registry, mounted read-only."""

from pathlib import Path
from typing import Literal


class AgentUnavailable(Exception):
    """The version cannot be had; `str()` says why."""


async def ensure_agent(
    cache_dir: Path,
    version: str,
    *,
    libc: Literal["glibc", "musl"] = "glibc",
    registry: str | None = None,
    ca_file: Path | None = None,
    timeout_seconds: float = 900,
) -> Path:
    """The executable of exactly `version`, mode 0555; a cached one needs no network. Raises AgentUnavailable."""
    raise NotImplementedError

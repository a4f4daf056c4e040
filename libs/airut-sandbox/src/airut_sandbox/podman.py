"""Podman on this host: the runtime that works, a configuration of our own, every call with a deadline."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airut_common.processes import Completed


@dataclass(frozen=True)
class Podman:
    """A Podman that passed the probe. `argv` is the command with its global options."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    runtime: str
    rootless: bool
    limits_enforced: bool
    """Whether this host lets us enforce memory, CPU and process limits."""
    state_dir: Path
    """Ours, mode 0700: configuration files and small per-sandbox files."""

    async def run(
        self, *args: str, timeout_seconds: float = 60, stdin: bytes | None = None, check: bool = True
    ) -> Completed:
        """Run `podman ARGS`.

        Raises:
            ProcessFailed: a non-zero exit code, when `check`.
            ProcessTimedOut: the deadline passed; the whole process group was killed.
        """
        raise NotImplementedError


async def probe_podman(state_dir: Path, *, runtime: str | None) -> Podman:
    """Find a Podman and runtime that really start a container on this host, and keep our own configuration for
    it in `state_dir`. `runtime` None tries Podman's default and then runc.

    Raises:
        PodmanUnusable: nothing works; the message names each attempt and its error.
    """
    raise NotImplementedError

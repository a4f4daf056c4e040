"""Names the files that steer the agent, git or an editor and that a task changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SteeringSnapshot:
    """A digest for each steering file that was there."""

    digests: Mapping[str, str]


def snapshot_steering(workspace: Path) -> SteeringSnapshot:
    """Digests, read beneath a directory descriptor; never follows a link, runs no git. Blocking."""
    raise NotImplementedError


def changed_steering(before: SteeringSnapshot, after: SteeringSnapshot) -> tuple[str, ...]:
    """Names (safe to show) of what appeared, changed or went away."""
    raise NotImplementedError

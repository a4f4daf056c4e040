"""How much a sandbox may hold on the host's disk, when to look, and when it is over. Pure.

A container's file systems have no quota that an ordinary user could set, so what it holds is measured while it runs.
Between two measurements the free space of the host is watched, which costs nothing: a sandbox can only have gone over
its limit when the host has lost as much as the sandbox had left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from airut_common.config.models import LimitsConfig

MIB: Final = 1024 * 1024
TICK_SECONDS: Final = 0.25
SCAN_SECONDS: Final = 2.0
"""Between two measurements, unless they take long, or there is a reason to look at once."""
REST: Final = 5
"""A measurement is followed by so many times its own duration without one."""
MAX_SCAN_SECONDS: Final = 60.0
GRACE_BYTES: Final = 256 * MIB
GRACE_FILES: Final = 10_000
"""What a conversation that is over its limit already may add while it cleans up."""
BLAME_BYTES: Final = 64 * MIB
"""A sandbox that has grown by less is not why the host's disk is full."""
SETTLE_SECONDS: Final = 3.0
"""After a sandbox went, its room needs a moment to come back."""

Why = Literal["bytes", "files", "depth", "host"]
"""What was reached: the two limits, the depth of folders, or the space that the host keeps for itself."""


@dataclass(frozen=True)
class Held:
    """What a sandbox holds; no more was looked at than it takes to know `over`."""

    bytes: int
    files: int
    over: Why | None = None


@dataclass(frozen=True)
class Ceiling:
    """What it may hold."""

    bytes: int
    files: int


def ceiling(limits: LimitsConfig, before: Held | None = None) -> Ceiling:
    """From the limits; `before` is what a conversation that is over them held when its task began."""
    most = Ceiling(limits.disk_mib * MIB, limits.files)
    if before is None:
        return most
    return Ceiling(max(most.bytes, before.bytes + GRACE_BYTES), max(most.files, before.files + GRACE_FILES))


@dataclass(frozen=True)
class Free:
    """What the host has left, on the fullest of the file systems that matter."""

    bytes: int
    files: int


@dataclass(frozen=True)
class Looked:
    """The last measurement."""

    held: Held
    free: Free
    """When it began."""
    ended: float
    """In seconds of a monotonic clock."""
    took_seconds: float


def should_look(last: Looked | None, most: Ceiling, free: Free, now: float) -> bool:
    """Whether it is time to measure."""
    if last is None:
        return True
    if now - last.ended < last.took_seconds:
        return False
    lost_bytes, lost_files = last.free.bytes - free.bytes, last.free.files - free.files
    if lost_bytes >= max(most.bytes - last.held.bytes, MIB) or lost_files >= max(
        most.files - last.held.files, 1_000
    ):
        return True
    return now - last.ended >= min(max(SCAN_SECONDS, REST * last.took_seconds), MAX_SCAN_SECONDS)


def why_stopped(why: Why, limits: LimitsConfig) -> str:
    """In words that follow `because`."""
    match why:
        case "bytes":
            return f"it took more of the disk than the {allowance(limits)} that it may"
        case "files":
            return f"it made more than the {limits.files:,} files that it may have"
        case "depth":
            return "it nested too many folders too deeply"
        case "host":
            return "it had taken most of the disk of Airut's host, which is nearly full"


def allowance(limits: LimitsConfig) -> str:
    """How much of the disk a conversation may hold, in words."""
    mib = limits.disk_mib
    return f"{mib} MiB" if mib < 10 * 1024 else f"{mib / 1024:.4g} GiB"


def whom_to_stop(grown: Mapping[str, int], free_bytes: int, keep_free_bytes: int) -> str | None:
    """Which sandbox goes when the host runs out of space: the one that has grown most since it began, if it has grown
    at all; None for nobody. On a disk that is all but full it goes in any case: what it holds may be hidden."""
    if free_bytes >= keep_free_bytes or not grown:
        return None
    name = max(grown, key=lambda each: (grown[each], each))
    return name if grown[name] >= BLAME_BYTES or free_bytes < keep_free_bytes // 2 else None


@dataclass
class HostDisk:
    """The sandboxes of one process, and how much each has taken since it began: who goes when the host is full."""

    grown: dict[str, int] = field(default_factory=dict)
    _victim: str | None = None
    _not_before: float = 0.0

    def victim(self, free_bytes: int, keep_free_bytes: int, now: float) -> str | None:
        """Who has to go now: one at a time."""
        if self._victim is None and now >= self._not_before:
            self._victim = whom_to_stop(self.grown, free_bytes, keep_free_bytes)
        return self._victim

    def forget(self, name: str, now: float) -> None:
        """A sandbox has ended."""
        self.grown.pop(name, None)
        if name == self._victim:
            self._victim = None
            self._not_before = now + SETTLE_SECONDS

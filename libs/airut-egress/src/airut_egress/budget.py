"""How much a sandbox may send to a host (field notes 22): a bound on what leaks through what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from .policy import HostPattern


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes for each host pattern; hosts of one pattern share them."""

    limits: tuple[tuple[HostPattern, int], ...] = ()

    @classmethod
    def parse(cls, limits: Mapping[str, int]) -> Self:
        """Read patterns as the configuration has them.

        Raises:
            airut_egress.policy.BadPattern: not a host pattern; a ValueError.
        """
        return cls(tuple((HostPattern.parse(text), size) for text, size in limits.items()))


@dataclass(slots=True)
class Sent:
    """What one sandbox has sent, requests' heads included."""

    by_pattern: dict[str, int] = field(default_factory=dict)

    def has_room(self, limits: UploadLimits, host: str, size: int) -> bool:
        """Whether so many more bytes may go to a canonical host."""
        return all(
            self.by_pattern.get(pattern.text, 0) + size <= limit
            for pattern, limit in limits.limits
            if pattern.matches(host)
        )

    def add(self, limits: UploadLimits, host: str, size: int) -> None:
        """Count bytes that go to a canonical host."""
        for pattern, _ in limits.limits:
            if pattern.matches(host):
                self.by_pattern[pattern.text] = self.by_pattern.get(pattern.text, 0) + size

"""Short rounds that alternate between what is compared: a shared machine changes its mind.

A rate by wall clock says what one core gives now; a rate by the CPU time of the proxy process holds on a busy
machine as well.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import uvloop

from bench.client import Target
from bench.proxies import cpu_seconds


@dataclass
class Sample:
    """Units of work that were done, and what they took."""

    units: float = 0
    wall_seconds: float = 0
    cpu_seconds: float = 0
    """Of the proxy process."""
    latencies: list[float] = field(default_factory=list)
    """Milliseconds."""

    @property
    def rate(self) -> float:
        """Units per second of the clock."""
        return self.units / self.wall_seconds

    @property
    def per_cpu(self) -> float:
        """Units per second of the proxy's CPU time."""
        return self.units / max(self.cpu_seconds, 0.01)

    @property
    def rates(self) -> str:
        """Both, for a table."""
        return f"{self.rate:.0f}/s, {self.per_cpu:.0f} per CPU second"


Work = Callable[[Target], Awaitable[list[float]]]
"""Does work through a proxy; what each unit took, in milliseconds."""


def alternate(targets: Mapping[str, Target], work: Work, *, rounds: int) -> dict[str, Sample]:
    """Do the work through each in turn, so many times; a first time is not counted."""
    samples = {name: Sample() for name in targets}
    for number in range(rounds + 1):
        for name, target in targets.items():
            into = samples[name] if number else Sample()
            uvloop.run(measured(target, work, into))
    return samples


async def measured(target: Target, work: Work, into: Sample) -> None:
    """Do the work once and add it to a sample."""
    used, began = cpu_seconds(target.pid), time.monotonic()
    latencies = await work(target)
    into.wall_seconds += time.monotonic() - began
    # What the proxy does behind the last answer belongs to the work: closing, events.
    await asyncio.sleep(0.05)
    into.cpu_seconds += cpu_seconds(target.pid) - used
    into.units += len(latencies)
    into.latencies += latencies

"""Many sandboxes in one engine beside one: does a request pay for the sandboxes that are open beside its own?"""

import asyncio
import resource
import ssl
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from bench import client
from bench.client import Target
from bench.proxies import Doors, Nothing, make_engine, origin, pin, process, rss_mib
from bench.rows import Row, p99
from bench.sampling import Sample, alternate

OPEN = 200
ACTIVE = 100
SECONDS = 3.0
ROUNDS = 3
ONE, MANY = "1 sandbox", f"{OPEN} sandboxes"


def _engine(folder: Path, tls: int, count: int, pipe: Connection) -> None:
    pin(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def main() -> None:
        doors = Doors()
        engine = make_engine(folder, tls, Nothing(), doors)
        ports = [await doors.open(engine, f"bench-{number}", 443) for number in range(count)]
        pipe.send((ports, engine.ca_certificate))
        await asyncio.Event().wait()

    uvloop.run(main())


def measure() -> list[Row]:
    """So many kept-alive connections, all from one sandbox, and one from each of as many sandboxes."""
    with (
        origin() as (folder, _, tls),
        process(_engine, folder, tls, 1) as (one_pid, one),
        process(_engine, folder, tls, OPEN) as (many_pid, many),
    ):
        ways = {ONE: _targets(one_pid, one), MANY: _targets(many_pid, many)}
        idle = rss_mib(many_pid) - rss_mib(one_pid)

        async def load(target: Target) -> list[float]:
            ways_in = next(targets for targets in ways.values() if targets[0] is target)
            return await client.requests(ways_in[:ACTIVE], "https", clients=ACTIVE, seconds=SECONDS)

        samples = alternate({name: targets[0] for name, targets in ways.items()}, load, rounds=ROUNDS)
        active = rss_mib(many_pid) - rss_mib(one_pid)
    by_cpu = samples[MANY].per_cpu / samples[ONE].per_cpu
    return [
        Row(
            f"{OPEN} sandboxes open, {ACTIVE} at work: requests, p99",
            _shown(samples[MANY]),
            f"{_shown(samples[ONE])}, {ACTIVE} connections of one sandbox (ours {by_cpu:.2f} of it by CPU)",
            "≥ 0.9 of it by CPU",
            by_cpu >= 0.9,
        ),
        Row(
            f"memory of one of {OPEN} sandboxes: idle, {ACTIVE} of them at work",
            f"{idle / (OPEN - 1):.3f} MiB, {active / (OPEN - 1):.3f} MiB",
            "an engine with one sandbox and as many connections is subtracted",
            "< 1 MiB",
            max(idle, active) / (OPEN - 1) < 1,
        ),
    ]


def _targets(pid: int, pipe: Connection) -> Sequence[Target]:
    ports, certificate = pipe.recv()
    context = ssl.create_default_context(cadata=certificate)
    return [Target(port, context, pid) for port in ports]


def _shown(sample: Sample) -> str:
    return f"{sample.rates}, p99 {p99(sample.latencies):.0f} ms"

"""The egress engine beside mitmdump: requests, large bodies, new connections. Everything on loopback."""

from functools import partial

from bench import client
from bench.client import Kind, Target
from bench.origin import TRANSFER_BYTES
from bench.proxies import (
    ADDON,
    DIRECT,
    OURS,
    PLAIN,
    STREAMING,
    Targets,
    peak_mib,
    proxies,
    reset_peak,
    rss_mib,
)
from bench.rows import Row, p50, p99
from bench.sampling import Sample, Work, alternate

CLIENTS = 16
SECONDS = 0.7
ROUNDS = 4
TRANSFERS = 2
KINDS: dict[Kind, str] = {"http": "HTTP/1.1", "https": "HTTPS, HTTP/1.1", "h2": "HTTPS, HTTP/2"}
_MIB = TRANSFER_BYTES / 1024 / 1024


def measure() -> list[Row]:
    """All rows, with one set of processes."""
    with proxies() as targets:
        rows = [row for kind in KINDS for row in _requests(targets, kind)]
        return rows + _transfers(targets) + [_connections(targets)]


def _of_kind(targets: Targets, kind: Kind, *names: str) -> dict[str, Target]:
    return {name: targets[name][kind] for name in names}


def _requests(targets: Targets, kind: Kind) -> list[Row]:
    async def load(target: Target, clients: int) -> list[float]:
        return await client.requests([target], kind, clients=clients, seconds=SECONDS)

    one: Work = partial(load, clients=1)
    many: Work = partial(load, clients=CLIENTS)
    alone = alternate(_of_kind(targets, kind, DIRECT, OURS, PLAIN, ADDON), one, rounds=ROUNDS)
    busy = alternate(_of_kind(targets, kind, OURS, PLAIN, ADDON), many, rounds=ROUNDS)
    ratio = busy[OURS].per_cpu / busy[PLAIN].per_cpu
    added = p50(alone[OURS].latencies) - p50(alone[DIRECT].latencies)
    streams = "streams" if kind == "h2" else "clients"
    return [
        Row(
            f"{KINDS[kind]}: requests, {CLIENTS} {streams}",
            busy[OURS].rates,
            _compared(busy, OURS, PLAIN, ADDON),
            "≥ 0.9 of mitmdump by CPU",
            ratio >= 0.9,
        ),
        Row(
            f"{KINDS[kind]}: added latency, 1 client, p50 / p99",
            _added(alone, OURS),
            "; ".join(f"{name} {_added(alone, name)}" for name in (PLAIN, ADDON)),
            "< 3 ms (p50)",
            added < 3,
        ),
    ]


def _compared(samples: dict[str, Sample], ours: str, *names: str) -> str:
    return "; ".join(
        f"{name} {samples[name].rates} (ours {samples[ours].per_cpu / samples[name].per_cpu:.2f} of it)"
        for name in names
    )


def _added(samples: dict[str, Sample], name: str) -> str:
    direct, through = samples[DIRECT].latencies, samples[name].latencies
    return f"{p50(through) - p50(direct):.2f} / {p99(through) - p99(direct):.2f} ms"


def _transfers(targets: Targets) -> list[Row]:
    rows = []
    for what, transfer in (("down", client.download), ("up", client.upload)):

        async def move(target: Target) -> list[float]:
            await transfer(target)  # noqa: B023 (used before the next turn)
            return [0.0]

        ways = _of_kind(targets, "https", OURS, PLAIN, STREAMING)
        held = {name: rss_mib(target.pid) for name, target in ways.items()}
        for target in ways.values():
            reset_peak(target.pid)
        samples = alternate(ways, move, rounds=TRANSFERS)
        grown = {name: peak_mib(target.pid) - held[name] for name, target in ways.items()}
        shown = {
            name: f"{sample.rate * _MIB:.0f} MiB/s, {sample.per_cpu * _MIB:.0f} per CPU second, {grown[name]:.0f} MiB"
            for name, sample in samples.items()
        }
        best = max(samples[PLAIN].per_cpu, samples[STREAMING].per_cpu)
        by_cpu = samples[OURS].per_cpu / best
        rows.append(
            Row(
                f"HTTPS: {_MIB:.0f} MiB {what}, and the growth of peak memory",
                shown[OURS],
                "; ".join(f"{name} {shown[name]}" for name in (PLAIN, STREAMING))
                + f" (ours {by_cpu:.2f} of the better one by CPU)",
                "≥ 0.9 of it by CPU, < 16 MiB",
                by_cpu >= 0.9 and grown[OURS] < 16,
            )
        )
    return rows


def _connections(targets: Targets) -> Row:
    async def load(target: Target) -> list[float]:
        return await client.connections(target, clients=4, seconds=SECONDS)

    samples = alternate(_of_kind(targets, "https", OURS, PLAIN), load, rounds=2 * ROUNDS)
    ratio = samples[OURS].per_cpu / samples[PLAIN].per_cpu
    return Row(
        "HTTPS: new connections, each a handshake and a request",
        samples[OURS].rates,
        _compared(samples, OURS, PLAIN),
        "≥ 2 of it by CPU",
        ratio >= 2,
    )

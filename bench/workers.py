"""Requests through worker processes of the egress-proxy, from inside of two network namespaces: on one core, on two.

On the same cores is everything else: a load generator in each namespace (wrk), the upstream (haproxy; both because they
cost little), and the process that starts the workers. So with one worker on two cores all of that is beside it, and
with two it is in their way; what a request costs each worker tells how it would be with cores to spare.
"""

import asyncio
import contextlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from airut_common.contracts.v1 import OpenSession, SessionOpened, new_id
from airut_common.testing.ports import free_port
from airut_egress.dns import SyntheticNames
from airut_egress.engine import EngineSettings
from airut_egress.pace import Rates
from airut_egress.sessions import SandboxNetworks
from airut_egress_proxy.sink import Sandbox
from airut_egress_proxy.workers.pool import WorkerPool
from airut_sandbox.attach import attach_network
from bench.origin import BODY, NAME, make_certificates
from bench.proxies import cpu_seconds, wait_for
from bench.rows import Row

SECONDS = 4
ROUNDS = 3
SANDBOXES = 2
CLIENTS = 8
"""Connections of each sandbox."""
SCALES = 1.7


class _Counting:
    """Takes events, as the service would, and keeps none."""

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None:
        """Drop it."""

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None:
        """An event that is lost would be work that is not measured."""
        raise AssertionError(f"{count} events of {origin} were lost, up to {last}")


@dataclass
class _Side:
    """A pool with its sandboxes."""

    cores: frozenset[int]
    """On which everything runs."""
    pool: WorkerPool
    ways_in: Sequence[Sequence[str]]
    """Commands that run what follows them in a sandbox."""

    async def measure(self) -> "_Found":
        """Load from all sandboxes at once."""
        with _on(self.cores):
            return await self._measure()

    async def _measure(self) -> "_Found":
        pids = [pid for pid in self.pool.pids if pid is not None]
        await self._load(1)
        before, own, begun = [cpu_seconds(pid) for pid in pids], cpu_seconds(os.getpid()), time.monotonic()
        answers = await self._load(SECONDS)
        took = time.monotonic() - begun
        spent = [cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
        # Each sandbox is on a worker of its own, where there are as many.
        shares = answers if len(pids) == len(answers) else [sum(answers)]
        costs = [1e6 * cpu / share for cpu, share in zip(spent, shares, strict=True)]
        return _Found(sum(answers) / took, costs, 1e6 * (cpu_seconds(os.getpid()) - own) / sum(answers))

    async def _load(self, seconds: int) -> list[int]:
        """The number of answers that each sandbox got."""
        wrk = (
            "wrk",
            "--threads=1",
            f"--connections={CLIENTS}",
            f"--duration={seconds}s",
            f"https://{NAME}/v1/thing",
        )
        return await asyncio.gather(*(_answers(*way_in, *wrk) for way_in in self.ways_in))


@dataclass(frozen=True)
class _Found:
    rate: float
    """Requests per second."""
    costs: Sequence[float]
    """CPU time of each worker for a request, microseconds."""
    service: float
    """The same of the process that starts them and takes their events."""


async def _answers(*argv: str) -> int:
    async with _process(*argv) as process:
        output, _ = await process.communicate()
    said = output.decode()
    found = re.search(r"(\d+) requests in", said)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise ValueError(f"wrk said: {said}")
    return int(found[1])


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS + 60):
        return await process.stdout.readline()


@asynccontextmanager
async def _process(*argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def _sandbox(opened: SessionOpened, hosts: Path) -> AsyncIterator[Sequence[str]]:
    """Namespaces with the session's network, where `NAME` is in the file of hosts; a command that leads there."""
    script = f"mount --bind {hosts} /etc/hosts && echo ready && exec cat"
    unshare = ("unshare", "--user", "--map-root-user", "--net", "--mount")
    async with _process(*unshare, "sh", "-c", script) as holder:
        assert await _line(holder) == b"ready\n"
        user_ns, net_ns = (Path(f"/proc/{holder.pid}/ns/{kind}").stat().st_ino for kind in ("user", "net"))
        await attach_network(
            holder.pid,
            user_ns=user_ns,
            net_ns=net_ns,
            socket=Path(opened.attach_socket),
            token=opened.attach_token,
        )
        yield ("nsenter", "-t", str(holder.pid), "-U", "-n", "-m", "--preserve-credentials")


@asynccontextmanager
async def _side(folder: Path, workers: int, cores: frozenset[int]) -> AsyncIterator[_Side]:
    state = folder / f"{workers}-{len(cores)}"
    state.mkdir()
    async with AsyncExitStack() as stack:
        with _on(cores):  # what is started stays where it was started
            pool, ways_in = await _start(stack, folder, state, workers)
        yield _Side(cores, pool, ways_in)


async def _start(
    stack: AsyncExitStack, folder: Path, state: Path, workers: int
) -> tuple[WorkerPool, Sequence[Sequence[str]]]:
    port = await stack.enter_async_context(_upstream(state, folder / "leaf.pem"))
    settings = EngineSettings(
        connect_to={NAME: f"127.0.0.1:{port}"},
        ca_file=folder / "ca.pem",
        rates=Rates(requests_per_second=1e6),
    )
    pool = WorkerPool(
        settings,
        workers=workers,
        sink=_Counting(),
        installation_key=b"k" * 32,
        state_dir=state,
        log_format="text",
        log_level="warning",
    )
    networks = SandboxNetworks(pool, attach_socket=state / "attach.sock")
    await stack.enter_async_context(pool.running())
    await stack.enter_async_context(networks.running())
    hosts = state / "hosts"
    hosts.write_text(f"{SyntheticNames().address_for(NAME)} {NAME}\n")
    ways_in = []
    for _ in range(SANDBOXES):
        request = OpenSession(sandbox=new_id(), task=new_id(), repo="demo", policy=f"domains: [{NAME}]\n")
        opened = await networks.open(request, {})
        ways_in.append(await stack.enter_async_context(_sandbox(opened, hosts)))
    return pool, ways_in


@asynccontextmanager
async def _upstream(folder: Path, certificate: Path) -> AsyncIterator[int]:
    """An HTTPS server as `NAME`, without a thread for each connection or a log; its port."""
    port = free_port()
    settings = folder / "haproxy.cfg"
    settings.write_text(
        "defaults\n mode http\n timeout client 60s\n"
        f"frontend origin\n bind 127.0.0.1:{port} ssl crt {certificate}\n"
        f" http-request return status 200 content-type text/plain string {'x' * len(BODY)}\n"
    )
    async with _process("haproxy", "-f", str(settings)):
        await asyncio.to_thread(wait_for, port)
        yield port


async def _measure(folder: Path) -> list[Row]:
    every = frozenset(os.sched_getaffinity(0))
    async with (
        _side(folder, 1, frozenset({min(every)})) as one_core,
        _side(folder, 1, every) as one,
        _side(folder, 2, every) as two,
    ):
        sides = (one_core, one, two)
        found = [[await side.measure() for side in sides] for _ in range(ROUNDS)]
    return _rows(*zip(*found, strict=True))


@contextmanager
def _on(cores: frozenset[int]) -> Iterator[None]:
    """Run there for a while, with what is started meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure() -> list[Row]:
    """Alternate between one worker and two, and take medians: a shared machine changes its mind."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        make_certificates(folder)
        return uvloop.run(_measure(folder))


def _rows(one_core: Sequence[_Found], one: Sequence[_Found], two: Sequence[_Found]) -> list[Row]:
    small, single, rate = (statistics.median(each.rate for each in found) for found in (one_core, one, two))
    alone = statistics.median(each.costs[0] for each in one)
    costs = [statistics.median(each.costs[number] for each in two) for number in range(2)]
    # Of workers that each have a core to themselves: what both do in a second, by what one does.
    scaled = sum(alone / cost for cost in costs)
    service = statistics.median(each.service for each in two)
    return [
        Row(
            f"requests per second, 2 workers on 2 cores, {SANDBOXES} sandboxes of {CLIENTS} connections",
            f"{rate:.0f}",
            f"{small:.0f}, 1 worker, everything on 1 core ({rate / small:.2f} of it)",
            f"≥ {SCALES} of it",
            rate >= SCALES * small,
        ),
        Row(
            "the same, beside 1 worker on 2 cores",
            f"{rate:.0f}",
            f"{single:.0f}, everything else on the other core ({rate / single:.2f} of it)",
            "",
            None,
        ),
        Row(
            "CPU time of a request in each of 2 workers",
            f"{costs[0]:.0f} µs and {costs[1]:.0f} µs",
            f"{alone:.0f} µs, 1 worker (cores of their own: {scaled:.2f} of its rate)",
            f"≥ {SCALES} of it",
            scaled >= SCALES,
        ),
        Row(
            "CPU time of a request in the service, 2 workers, without a bus",
            f"{service:.0f} µs",
            f"{costs[0]:.0f} µs in a worker",
            "",
            None,
        ),
    ]

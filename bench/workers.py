"""Requests through one worker process of the egress-proxy and through two, from inside of two network namespaces.

Everything else is on the same cores: a load generator in each namespace, the upstream, and the process that starts the
workers. So beside the rates stands what a request costs each worker: that tells how it would be with cores to spare.
"""

import asyncio
import contextlib
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from airut_common.contracts.v1 import OpenSession, SessionOpened, new_id
from airut_egress.dns import SyntheticNames
from airut_egress.engine import EngineSettings
from airut_egress.pace import Rates
from airut_egress.sessions import SandboxNetworks
from airut_egress_proxy.sink import Sandbox
from airut_egress_proxy.workers.pool import WorkerPool
from airut_sandbox.attach import attach_network
from bench.client import GET
from bench.origin import BODY, NAME, make_certificates, serve
from bench.proxies import cpu_seconds, process
from bench.rows import Row

SECONDS = 4.0
ROUNDS = 3
SANDBOXES = 2
CLIENTS = 8
"""Connections of each sandbox."""
SCALES = 1.7


class _Client(asyncio.Protocol):
    """Asks again as soon as it has its answer."""

    answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head >= 0 and len(self._data) == head + 4 + len(BODY):
            assert self._data.startswith(b"HTTP/1.1 200 "), self._data[:200]
            _Client.answers += 1
            self._data = b""
            self._ask()

    def _ask(self) -> None:
        self._transport.write(GET)  # type: ignore[attr-defined]


async def _generate(ca_file: str) -> None:
    """In a namespace: for each line on standard input, load for so many seconds and the number of answers."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=ca_file)
    address = str(SyntheticNames().address_for(NAME))
    for line in iter(sys.stdin.readline, ""):
        _Client.answers = 0
        opened = [
            await loop.create_connection(_Client, address, 443, ssl=context, server_hostname=NAME)
            for _ in range(CLIENTS)
        ]
        await asyncio.sleep(float(line))
        for transport, _ in opened:
            transport.abort()
        print(_Client.answers, flush=True)


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

    pool: WorkerPool
    loads: list[asyncio.subprocess.Process]

    async def measure(self) -> "_Found":
        """Load from all sandboxes at once."""
        pids = [pid for pid in self.pool.pids if pid is not None]
        await self._load(0.5)
        before, own, begun = [cpu_seconds(pid) for pid in pids], cpu_seconds(os.getpid()), time.monotonic()
        answers = await self._load(SECONDS)
        took = time.monotonic() - begun
        spent = [cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
        # Each sandbox is on a worker of its own, where there are as many.
        shares = answers if len(pids) == len(answers) else [sum(answers)]
        costs = [1e6 * cpu / share for cpu, share in zip(spent, shares, strict=True)]
        return _Found(sum(answers) / took, costs, 1e6 * (cpu_seconds(os.getpid()) - own) / sum(answers))

    async def _load(self, seconds: float) -> list[int]:
        for load in self.loads:
            assert load.stdin is not None
            load.stdin.write(f"{seconds}\n".encode())
        return [int(await _line(load)) for load in self.loads]


@dataclass(frozen=True)
class _Found:
    rate: float
    """Requests per second."""
    costs: Sequence[float]
    """CPU time of each worker for a request, microseconds."""
    service: float
    """The same of the process that starts them and takes their events."""


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
async def _sandbox(opened: SessionOpened, ca_file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A namespace with the session's network, and a load generator in it."""
    script = "echo ready && exec cat"
    async with _process("unshare", "--user", "--map-root-user", "--net", "sh", "-c", script) as holder:
        assert await _line(holder) == b"ready\n"
        user_ns, net_ns = (Path(f"/proc/{holder.pid}/ns/{kind}").stat().st_ino for kind in ("user", "net"))
        await attach_network(
            holder.pid,
            user_ns=user_ns,
            net_ns=net_ns,
            socket=Path(opened.attach_socket),
            token=opened.attach_token,
        )
        enter = ("nsenter", "-t", str(holder.pid), "-U", "-n", "--preserve-credentials")
        async with _process(*enter, sys.executable, "-m", "bench.workers", str(ca_file)) as load:
            yield load


@asynccontextmanager
async def _side(folder: Path, workers: int, upstream_port: int, ca_file: Path) -> AsyncIterator[_Side]:
    settings = EngineSettings(
        connect_to={NAME: f"127.0.0.1:{upstream_port}"},
        ca_file=ca_file,
        rates=Rates(requests_per_second=1e6),
    )
    state = folder / str(workers)
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
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool.running())
        await stack.enter_async_context(networks.running())
        loads = []
        for _ in range(SANDBOXES):
            request = OpenSession(sandbox=new_id(), task=new_id(), repo="demo", policy=f"domains: [{NAME}]\n")
            opened = await networks.open(request, {})
            trusted = state / "trusted.pem"
            trusted.write_text(opened.ca_certificate)
            loads.append(await stack.enter_async_context(_sandbox(opened, trusted)))
        yield _Side(pool, loads)


async def _measure(folder: Path, upstream: Connection) -> list[Row]:
    _, port = upstream.recv()
    ca_file = folder / "ca.pem"
    async with _side(folder, 1, port, ca_file) as one, _side(folder, 2, port, ca_file) as two:
        found: dict[int, list[_Found]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            found[1].append(await one.measure())
            found[2].append(await two.measure())
    return _rows(found[1], found[2])


def measure() -> list[Row]:
    """Alternate between one worker and two, and take medians: a shared machine changes its mind."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        make_certificates(folder)
        with process(serve, folder) as (_, upstream):
            return uvloop.run(_measure(folder, upstream))


def _rows(one: Sequence[_Found], two: Sequence[_Found]) -> list[Row]:
    rate, single = (statistics.median(each.rate for each in found) for found in (two, one))
    alone = statistics.median(each.costs[0] for each in one)
    costs = [statistics.median(each.costs[number] for each in two) for number in range(2)]
    # Of workers that each have a core to themselves: what both do in a second, by what one does.
    scaled = sum(alone / cost for cost in costs)
    service = statistics.median(each.service for each in two)
    return [
        Row(
            f"requests per second, 2 workers, {SANDBOXES} sandboxes of {CLIENTS} connections",
            f"{rate:.0f}",
            f"{single:.0f}, 1 worker ({rate / single:.2f} of it)",
            f"≥ {SCALES} of it",
            rate >= SCALES * single,
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


if __name__ == "__main__":
    uvloop.run(_generate(sys.argv[1]))

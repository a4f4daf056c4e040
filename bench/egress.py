"""Throughput and latency of the egress engine beside plain mitmdump, on loopback.

Three processes: an upstream (TLS, keep-alive) and this client on one core, the proxy under test alone on the other.
"""

import asyncio
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trustme
import uvloop

from airut_common.contracts.v1 import EgressEvent
from airut_egress.destination import SocketLike
from airut_egress.engine import Engine, EngineSettings
from airut_egress.pace import Rates
from airut_egress.session import SessionConfig
from bench.rows import Row, p50

SECONDS = 4.0
ROUNDS = 3
CLIENTS = 16
NAME = "api.example.test"
REQUEST = f"GET /v1/thing HTTP/1.1\r\nHost: {NAME}\r\nAccept: */*\r\n\r\n".encode()
BODY = b"x" * 1000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class _Upstream(asyncio.Protocol):
    """The smallest server that keeps connections alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            _, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


def _upstream(folder: Path, pipe: Connection) -> None:
    async def main() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "leaf.pem")
        server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0, ssl=context)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


class _Nothing:
    def record(self, event: EgressEvent) -> None:
        """Drop it."""


def _engine(folder: Path, upstream_port: int, pipe: Connection) -> None:
    _pin(0)

    async def main() -> None:
        settings = EngineSettings(
            connect_to={NAME: f"127.0.0.1:{upstream_port}"}, ca_file=folder / "ca.pem", rates=Rates(1e9)
        )
        names: dict[str, str] = {}

        def lookup(accepted: SocketLike) -> tuple[str, int]:
            del accepted
            return names["address"], 443

        made = Engine(
            settings, sink=_Nothing(), installation_key=b"k" * 32, state_dir=folder / "state", lookup=lookup
        )
        opened = made.open(SessionConfig("s", "t", "demo", f"domains: [{NAME}]\n", "allowlist"))
        tcp = socket.create_server(("127.0.0.1", 0), backlog=128)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        names["address"] = str(made.sessions["s"].names.address_for(NAME))
        address = tcp.getsockname()[1]
        await made.attach(opened.token, tcp, udp)
        pipe.send((address, made.ca_certificate))
        await asyncio.Event().wait()

    uvloop.run(main())


def _pin(core: int) -> None:
    """Stay on one core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def _process(target: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=target, args=(*arguments, theirs), daemon=True)
    child.start()
    try:
        yield ours
    finally:
        child.kill()
        child.join()


@contextmanager
def _mitmdump(folder: Path, upstream_port: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    alone = ["taskset", "--cpu-list", "0"] if (os.cpu_count() or 1) > 1 else []
    argv = [
        *alone, str(Path(sys.executable).with_name("mitmdump")), "-q", "--set", f"confdir={folder / 'mitm'}",
        "--mode", f"reverse:https://127.0.0.1:{upstream_port}/", "--set", "ssl_insecure=true",
        "--set", "connection_strategy=lazy", "--listen-host", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    with subprocess.Popen(argv) as child:
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port
        finally:
            child.kill()


async def _client(port: int, context: ssl.SSLContext, until: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    while time.monotonic() < until:
        begun = time.perf_counter()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        await reader.readexactly(len(BODY))
        latencies.append((time.perf_counter() - begun) * 1000)
    writer.transport.abort()


async def _load(port: int, context: ssl.SSLContext, clients: int) -> tuple[float, float]:
    """Requests per second, and the median latency in milliseconds."""
    latencies: list[float] = []
    await _client(port, context, time.monotonic() + 0.5, [])
    begun = time.monotonic()
    await asyncio.gather(*(_client(port, context, begun + SECONDS, latencies) for _ in range(clients)))
    return len(latencies) / (time.monotonic() - begun), p50(latencies)


def upstream_process(folder: Path) -> AbstractContextManager[Connection]:
    """The upstream by itself; the first thing on its pipe is its port. `folder` holds `leaf.pem`."""
    return _process(_upstream, folder)


def _insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def measure() -> list[Row]:
    """Alternate between direct, ours and mitmdump, and take medians: a shared machine changes its mind."""
    cores = os.sched_getaffinity(0)
    authority = trustme.CA()
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        leaf = authority.issue_cert(NAME, "127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))
        _pin(1)
        try:
            with upstream_process(folder) as up:
                upstream_port = up.recv()
                with (
                    _process(_engine, folder, upstream_port) as proxy,
                    _mitmdump(folder, upstream_port) as theirs,
                ):
                    port, certificate = proxy.recv()
                    trusted = ssl.create_default_context(cadata=certificate)
                    targets = {
                        "direct": (upstream_port, _insecure()),
                        "ours": (port, trusted),
                        "mitmdump": (theirs, _insecure()),
                    }
                    return _rows(_rounds(targets))
        finally:
            os.sched_setaffinity(0, cores)


def _rounds(targets: dict[str, tuple[int, ssl.SSLContext]]) -> dict[str, dict[int, tuple[float, float]]]:
    """For each target and number of clients: requests per second and median latency, medians over the rounds."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {name: {1: [], CLIENTS: []} for name in targets}
    for _ in range(ROUNDS):
        for name, (port, context) in targets.items():
            for clients in (1, CLIENTS):
                found[name][clients].append(uvloop.run(_load(port, context, clients)))
    return {
        name: {
            clients: (statistics.median(rate for rate, _ in runs), statistics.median(ms for _, ms in runs))
            for clients, runs in by_clients.items()
        }
        for name, by_clients in found.items()
    }


def _rows(found: dict[str, dict[int, tuple[float, float]]]) -> list[Row]:
    direct, ours, theirs = (found[name] for name in ("direct", "ours", "mitmdump"))
    added, their_added = ours[1][1] - direct[1][1], theirs[1][1] - direct[1][1]
    rows = [
        Row(
            "added latency, 1 client, p50",
            f"{added:.2f} ms",
            f"{their_added:.2f} ms, mitmdump",
            "< 3 ms",
            added < 3,
        )
    ]
    for clients in (1, CLIENTS):
        rate, theirs_rate = ours[clients][0], theirs[clients][0]
        rows.append(
            Row(
                f"requests per second on one core, {clients} client{'s' if clients > 1 else ''}",
                f"{rate:.0f}",
                f"{theirs_rate:.0f}, mitmdump ({rate / theirs_rate:.2f} of it)",
                "≥ 0.9 of mitmdump",
                rate >= 0.9 * theirs_rate,
            )
        )
    return rows

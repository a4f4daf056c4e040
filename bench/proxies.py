"""The processes that are measured: the engine, and mitmdump as the baseline. Each is pinned to one core."""

import asyncio
import gc
import multiprocessing
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from airut_common.contracts.v1 import EgressEvent
from airut_common.testing.ports import free_port
from airut_egress.destination import SocketLike
from airut_egress.engine import Engine, EngineSettings
from airut_egress.events import EventSink
from airut_egress.pace import Rates
from airut_egress.session import SessionConfig
from bench.client import Kind, Target, insecure
from bench.origin import NAME, make_certificates, serve

POLICY = f"""
domains: [api.anthropic.com, "*.pypi.org", files.pythonhosted.org, registry.npmjs.org, crates.io]
url_prefixes:
  - {{host: github.com, path: "/example/website.git/*"}}
  - {{host: api.github.com, path: "/repos/example/website/*", methods: [GET, POST]}}
  - {{host: "{NAME}", path: "/v1/*", methods: [GET]}}
  - {{host: "{NAME}", path: "/down", methods: [GET]}}
  - {{host: "{NAME}", path: "/up", methods: [POST]}}
"""
_TICKS = os.sysconf("SC_CLK_TCK")
DIRECT, OURS, PLAIN = "direct", "ours", "mitmdump"
ADDON, STREAMING = "mitmdump with a policy addon", "mitmdump that streams"
Targets = dict[str, dict[Kind, Target]]
"""Those above, each by kind of traffic."""


def pin(core: int) -> None:
    """Stay on one core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Stay on one core for a while."""
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """What a process has used, in both modes (proc(5): fields 14 and 15 of `stat`); 0 for no process."""
    if not pid:
        return 0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mib(pid: int) -> float:
    """Memory that a process holds now."""
    return _status(pid, "VmRSS")


def reset_peak(pid: int) -> None:
    """Let `peak_mib` begin anew (proc(5): `clear_refs`)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    """The most memory that a process has held since `reset_peak`."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no {name} in status")


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[int, Connection]]:
    """A child of ours: its id, and a pipe to it, which is its last argument."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    child.start()
    try:
        yield child.pid or 0, ours
    finally:
        child.kill()
        child.join()


class Nothing:
    """A sink for measurements without a bus."""

    def record(self, event: EgressEvent) -> None:
        """Drop it."""


class Doors:
    """Sandboxes without containers: listeners on loopback, each standing for one sandbox's way to one port."""

    def __init__(self) -> None:
        self._destinations: dict[int, tuple[str, int]] = {}

    def lookup(self, accepted: SocketLike) -> tuple[str, int]:
        """A `DestinationLookup`."""
        listening: Any = accepted
        return self._destinations[listening.getsockname()[1]]

    async def open(self, engine: Engine, sandbox: str, port: int) -> int:
        """A new sandbox whose every connection leads to `NAME` at a port; the port it listens on."""
        opened = engine.open(SessionConfig(sandbox, "task", "demo", POLICY, "allowlist"))
        tcp = socket.create_server(("127.0.0.1", 0), backlog=1024)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        listening: int = tcp.getsockname()[1]
        self._destinations[listening] = (str(engine.sessions[sandbox].names.address_for(NAME)), port)
        await engine.attach(opened.token, tcp, udp)
        return listening


def make_engine(folder: Path, upstream_port: int, sink: EventSink, doors: Doors) -> Engine:
    """An engine for which `NAME` is the origin at that port."""
    return Engine(
        EngineSettings(
            connect_to={NAME: f"127.0.0.1:{upstream_port}"}, ca_file=folder / "ca.pem", rates=Rates(1e9)
        ),
        sink=sink,
        installation_key=b"k" * 32,
        state_dir=folder / "state",
        lookup=doors.lookup,
    )


def _engines(folder: Path, plain: int, tls: int, pipe: Connection) -> None:
    """Two engines, because `connect_to` has one address for a name."""
    pin(0)

    async def main() -> None:
        doors = Doors()
        for_http = make_engine(folder, plain, Nothing(), doors)
        for_https = make_engine(folder, tls, Nothing(), doors)
        ports = await doors.open(for_http, "bench-http", 80), await doors.open(for_https, "bench-https", 443)
        gc.freeze()  # as a worker of the service does
        pipe.send((*ports, for_https.ca_certificate))
        await asyncio.Event().wait()

    uvloop.run(main())


@contextmanager
def _mitmdump(
    folder: Path, plain: int, tls: int, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[dict[Kind, Target]]:
    at_plain, at_tls = free_port(), free_port()
    alone = ["taskset", "--cpu-list", "0"] if (os.cpu_count() or 1) > 1 else []
    argv = [
        *alone, str(Path(sys.executable).with_name("mitmdump")), "-q",
        "--set", f"confdir={folder / 'mitm'}",
        "--set", f"ssl_verify_upstream_trusted_ca={folder / 'ca.pem'}",
        "--set", "keep_host_header=true",
        "--mode", f"reverse:http://127.0.0.1:{plain}@127.0.0.1:{at_plain}",
        "--mode", f"reverse:https://127.0.0.1:{tls}@127.0.0.1:{at_tls}", *options,
    ]  # fmt: skip
    with subprocess.Popen(argv, env={**os.environ, **(environment or {})}) as child:
        try:
            for port in (at_plain, at_tls):
                wait_for(port)
            yield _by_kind(at_plain, at_tls, insecure, child.pid)
        finally:
            child.kill()


@contextmanager
def origin() -> Iterator[tuple[Path, int, int]]:
    """A folder with certificates, and the origin's plain and TLS ports; this process is pinned beside it."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name, pinned(1):
        folder = Path(name)
        make_certificates(folder)
        (folder / "policy.yaml").write_text(POLICY)
        with process(serve, folder) as (_, pipe):
            plain, tls = pipe.recv()
            yield folder, plain, tls


@contextmanager
def proxies() -> Iterator[Targets]:
    """The origin, the engine and the baselines; the proxies have one core, and everything else the other."""
    with ExitStack() as stack:
        enter = stack.enter_context
        folder, plain, tls = enter(origin())
        pid, pipe = enter(process(_engines, folder, plain, tls))
        ours_plain, ours_tls, certificate = pipe.recv()
        addon = ["-s", str(Path(__file__).with_name("policy_addon.py"))]
        environment = {"BENCH_POLICY": str(folder / "policy.yaml")}
        yield {
            DIRECT: _by_kind(plain, tls, insecure, 0),
            OURS: _by_kind(ours_plain, ours_tls, lambda: ssl.create_default_context(cadata=certificate), pid),
            PLAIN: enter(_mitmdump(folder, plain, tls)),
            STREAMING: enter(_mitmdump(folder, plain, tls, "--set", "stream_large_bodies=1m")),
            ADDON: enter(_mitmdump(folder, plain, tls, *addon, environment=environment)),
        }


def _by_kind(plain: int, tls: int, context: Callable[[], ssl.SSLContext], pid: int) -> dict[Kind, Target]:
    http1, http2 = context(), context()
    http1.set_alpn_protocols(["http/1.1"])
    http2.set_alpn_protocols(["h2"])
    return {"http": Target(plain, None, pid), "https": Target(tls, http1, pid), "h2": Target(tls, http2, pid)}


def wait_for(port: int) -> None:
    """Return when somebody listens there.

    Raises:
        TimeoutError: nobody does after a minute.
    """
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"nobody listens on {port}")

"""Attaching the network to real sandboxes, and what a further one costs, beside containers with their own mitmdump."""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from airut_common.contracts.v1 import EgressEvent, OpenSession, new_id
from airut_demo.__main__ import cache_folder
from airut_egress.engine import Engine, EngineSettings
from airut_egress.engines import OneEngine
from airut_egress.sessions import SandboxNetworks
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.container import SandboxSpec, open_sandbox
from airut_sandbox.podman import Podman, probe_podman
from bench.rows import Row, p50

SANDBOXES = 50
CONTAINERS = 5
POLICY = "domains: [a.example]\n"
PORT = 8080
WAIT_FOR_PORT = f"""
import socket, time
while True:
    try:
        socket.create_connection(("127.0.0.1", {PORT})).close()
        break
    except OSError:
        time.sleep(0.005)
"""


class _Nothing:
    def record(self, event: EgressEvent) -> None:
        """Drop it."""


def _proxy(folder: Path, pipe: Connection) -> None:
    """The egress side in a process of its own; answers every word with its memory in MiB."""

    async def main() -> None:
        engine = Engine(EngineSettings(), sink=_Nothing(), installation_key=b"k" * 32, state_dir=folder)
        networks = SandboxNetworks(OneEngine(engine), attach_socket=folder / "attach.sock")
        async with networks.running():
            requests = (
                OpenSession(sandbox=f"bench-{number}", task="t", repo="demo", policy=POLICY)
                for number in range(SANDBOXES + 1)
            )
            pipe.send([(await networks.open(request, {})).attach_token for request in requests])
            loop = asyncio.get_running_loop()
            while await loop.run_in_executor(None, pipe.recv):
                pipe.send(_pss_mib(os.getpid()))

    uvloop.run(main())


def _pss_mib(pid: int) -> float:
    """Memory that is this process's own share, MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no Pss in smaps_rollup")


async def measure() -> list[Row]:
    """Run both sides."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        podman = await probe_podman(folder / "podman", runtime=None)
        image = await ensure_base_image(podman, cache_dir=cache_folder() / "base-image")
        attach_ms, per_sandbox = await _ours(podman, image, folder)
        start_ms, container_mib = await _baseline(podman)
    return [
        Row(
            f"attach a network to a sandbox, p50 of {SANDBOXES}",
            f"{p50(attach_ms):.0f} ms",
            f"{p50(start_ms):.0f} ms until a container's own mitmdump listens (p50 of {CONTAINERS})",
            "< 60 ms",
            p50(attach_ms) < 60,
        ),
        Row(
            f"memory of a further idle sandbox, of {SANDBOXES}",
            f"{per_sandbox:.3f} MiB",
            f"{p50(container_mib):.0f} MiB for each mitmdump container",
            "< 1 MiB",
            per_sandbox < 1,
        ),
    ]


async def _ours(podman: Podman, image: str, folder: Path) -> tuple[list[float], float]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    state = folder / "egress"
    state.mkdir(mode=0o700)
    child = multiprocessing.get_context("spawn").Process(target=_proxy, args=(state, theirs), daemon=True)
    child.start()
    try:
        tokens: list[str] = await asyncio.to_thread(ours.recv)
        times: list[float] = []
        async with AsyncExitStack() as stack:
            for number, token in enumerate(tokens):
                spec = SandboxSpec(
                    name=f"bench-{new_id()[:12]}",
                    image=image,
                    command=["sleep", "600"],
                    labels={"airut.installation": "bench"},
                    workdir="/",
                )
                sandbox = await stack.enter_async_context(open_sandbox(podman, spec))
                began = time.perf_counter()
                await sandbox.attach_network(state / "attach.sock", token)
                times.append((time.perf_counter() - began) * 1000)
                if number == 0:
                    first = await _ask(ours)
            last = await _ask(ours)
        return times[1:], (last - first) / SANDBOXES
    finally:
        child.kill()
        child.join()


async def _ask(pipe: Connection) -> float:
    pipe.send("memory")
    found: float = await asyncio.to_thread(pipe.recv)
    return found


async def _baseline(podman: Podman) -> tuple[list[float], list[float]]:
    times, memory = [], []
    for _ in range(CONTAINERS):
        began = time.perf_counter()
        async with _mitmdump(podman) as pid:
            await _until_it_listens(podman, pid)
            times.append((time.perf_counter() - began) * 1000)
            memory.append(_pss_mib(pid))
    return times, memory


@asynccontextmanager
async def _mitmdump(podman: Podman) -> AsyncIterator[int]:
    """A container that runs this environment's own mitmdump on the host's files, as an overlay."""
    name = f"bench-{new_id()[:12]}"
    program = Path(sys.executable).with_name("mitmdump")
    ulimits = [f"--ulimit={limit}" for limit in podman.ulimits]
    options = ["--network=none", f"--name={name}", *ulimits, "--rootfs", "/:O"]
    await podman.run("run", "--detach", *options, str(program), "-q", "--listen-port", str(PORT))
    try:
        found = await podman.run("inspect", "--format={{.State.Pid}}", name)
        yield int(found.stdout)
    finally:
        await podman.run("rm", "--force", "--time=0", name, check=False)


async def _until_it_listens(podman: Podman, pid: int) -> None:
    enter = ["nsenter", f"--target={pid}", "--net", sys.executable, "-I", "-S", "-c", WAIT_FOR_PORT]
    argv = [*podman.argv, "unshare", *enter] if podman.rootless else enter
    process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **podman.env})
    async with asyncio.timeout(60):
        if await process.wait() != 0:
            raise RuntimeError("the network namespace of the baseline could not be entered")

"""Sessions whose sandbox is gone, and whom nobody closed."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from airut_common.contracts.v1 import EgressEvent
from airut_egress.engine import Engine, EngineSettings
from airut_egress.engines import Engines, OneEngine
from airut_egress.inhabitants import namespace_of
from airut_egress.sessions import SandboxNetworks
from airut_egress_proxy.sink import Sandbox
from airut_egress_proxy.workers.pool import WorkerPool

from .conftest import open_session
from .test_namespace import namespace

pytestmark = pytest.mark.integration


class Events:
    """Nobody watches."""

    def record(self, event: EgressEvent) -> None: ...

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None: ...

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None: ...


@asynccontextmanager
async def one_engine(state: Path) -> AsyncIterator[Engines]:
    yield OneEngine(Engine(EngineSettings(), sink=Events(), installation_key=b"k" * 32, state_dir=state))


@asynccontextmanager
async def worker_processes(state: Path) -> AsyncIterator[Engines]:
    pool = WorkerPool(
        EngineSettings(),
        workers=2,
        sink=Events(),
        installation_key=b"k" * 32,
        state_dir=state,
        log_format="text",
        log_level="debug",
    )
    async with pool.running():
        yield pool


@pytest.mark.parametrize("running", [one_engine, worker_processes])
async def test_a_session_ends_with_its_namespace(
    tmp_path: Path, running: Callable[[Path], AbstractAsyncContextManager[Engines]]
) -> None:
    """Field notes 35: listening sockets keep a namespace and two descriptors. A service with workers has copies."""
    async with running(tmp_path / "state") as engines:
        await end_with_the_namespace(SandboxNetworks(engines, attach_socket=tmp_path / "a.sock"), tmp_path)


async def end_with_the_namespace(networks: SandboxNetworks, tmp_path: Path) -> None:
    async with networks.running():
        waiting, inhabited = open_session(), open_session()
        await networks.open(waiting, {})
        opened = await networks.open(inhabited, {})
        async with namespace(tmp_path) as inside:
            await inside.attach(opened)
            gone = Path(f"/proc/{inside.pid}/ns/net").stat().st_ino
            assert await networks.close_deserted() == []
            assert await networks.close_deserted() == []
        assert await networks.close_deserted() == []  # one look is not enough
        assert await networks.close_deserted() == [inhabited.sandbox]
        assert set(networks.sessions) == {waiting.sandbox}
        assert (await networks.close(inhabited.sandbox)).requests == 0
        async with asyncio.timeout(30):
            while any(namespace_of_descriptor(each) == gone for each in Path("/proc/self/fd").iterdir()):
                await asyncio.sleep(0)  # a transport closes its socket in the next pass of the loop


def namespace_of_descriptor(path: Path) -> int | None:
    """The network namespace of a socket of this process."""
    try:
        with socket.socket(fileno=os.dup(int(path.name))) as sock:
            return namespace_of(sock)
    except OSError:
        return None

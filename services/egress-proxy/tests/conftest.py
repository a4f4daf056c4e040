"""The service as a process of its own, on a real bus."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from airut_common.bus import Bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import STATUS_BUCKET, status_key
from airut_common.config.credentials import MaskedCredential
from airut_common.config.models import GitConfig, InstallationConfig, RepoConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import (
    ListSessions,
    OpenSession,
    Refused,
    SessionOpened,
    SessionsListed,
    new_id,
)
from airut_common.contracts.v1.subjects import egress_service
from airut_common.sealed import seal, sealed_key, service_public_key, store_sealed

SERVICE = "egress-proxy"
POLICY = "domains: [api.example.test]\n"
SECRET = "sk-ant-api03-0123456789abcdefREAL"


def repo_config(*names: str) -> RepoConfig:
    return RepoConfig(
        address="demo@airut.example",
        senders=("ada@lovelace.example",),
        git=GitConfig(url="https://git.demo.example/demo.git"),
        credentials={name: MaskedCredential(scopes=("api.example.test",)) for name in names},
    )


def open_session(**fields: str) -> OpenSession:
    values = {"sandbox": new_id(), "task": new_id(), "repo": "demo", "policy": POLICY} | fields
    return OpenSession(**values)


@dataclass
class Proxy:
    """A running service and the way to speak to it."""

    bus: Bus
    process: asyncio.subprocess.Process
    log: Path

    async def open(self, request: OpenSession) -> SessionOpened | Refused:
        return await self.bus.request(
            egress_service("local", "open"), request, SessionOpened, timeout_seconds=20
        )

    async def list_sessions(self, after: str | None = None) -> SessionsListed:
        answer = await self.bus.request(
            egress_service("local", "list"), ListSessions(after=after), SessionsListed, timeout_seconds=20
        )
        assert isinstance(answer, SessionsListed)
        return answer

    async def set_secret(self, name: str, value: str, repo: str = "demo") -> None:
        public = await service_public_key(self.bus, SERVICE)
        assert public is not None
        await store_sealed(self.bus, sealed_key(SERVICE, repo, name), seal(public, value))


class Starter:
    """Starts the service, again and again with the same state."""

    def __init__(self, server: NatsServer, bus: Bus, folder: Path) -> None:
        self.server = server
        self.bus = bus
        self.state = folder / "state"
        self.log = folder / "log"

    async def configure(self, *credentials: str) -> None:
        repos = {"demo": repo_config(*credentials)}
        await apply_config(self.bus, InstallationConfig(repos=repos))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        before = await self.bus.kv_get(STATUS_BUCKET, status_key(SERVICE))
        env = os.environ | {
            "AIRUT_NATS_URL": self.server.url,
            "AIRUT_STATE_DIR": str(self.state),
            "AIRUT_INSTALLATION": "test",
            "AIRUT_LOG_LEVEL": "debug",
        }
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "airut_egress_proxy",
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await self._ready(process, before.revision if before else 0)
            yield Proxy(self.bus, process, self.log)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
            async with asyncio.timeout(15):
                await process.wait()

    async def _ready(self, process: asyncio.subprocess.Process, revision: int) -> None:
        async with asyncio.timeout(20):
            async for entry in self.bus.kv_watch(STATUS_BUCKET, status_key(SERVICE)):
                if entry is not None and entry.revision > revision:
                    return
                assert process.returncode is None, self.log.read_text()


@pytest.fixture
def starter(nats_server: NatsServer, bus: Bus, tmp_path: Path) -> Starter:
    return Starter(nats_server, bus, tmp_path)


@pytest.fixture
async def proxy(starter: Starter) -> AsyncIterator[Proxy]:
    """Configured with one repository and one credential, which has its value."""
    await starter.configure("API_KEY")
    async with starter.running() as proxy:
        await proxy.set_secret("API_KEY", SECRET)
        yield proxy

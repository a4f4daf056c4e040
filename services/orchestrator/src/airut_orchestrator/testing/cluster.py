"""A cluster of real nats-servers, one on each host of a switch."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nats.errors import Error as NatsError

from airut_common.bus import Bus, BusUnavailable, open_bus
from airut_common.bus.server import MAX_PAYLOAD_BYTES, MAX_STORE_BYTES, nats_server_binary
from airut_orchestrator.testing.network import NetworkHost, Switch

_CLIENTS: Final = 4222
_ROUTES: Final = 6222
_READY_SECONDS: Final = 60.0


@dataclass
class NatsCluster:
    """As many servers as hosts."""

    folder: Path
    switch: Switch
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """All of them, as an operator writes it."""
        return ",".join(f"nats://{host.address}:{_CLIENTS}" for host in self.switch.hosts)

    async def start(self, host: NetworkHost) -> None:
        """Run the server of one host."""
        folder = self.folder / host.namespace
        folder.mkdir(exist_ok=True)
        config = {
            "server_name": host.namespace,
            "host": host.address,
            "port": _CLIENTS,
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(folder),
                "sync_interval": "always",
                "max_file_store": MAX_STORE_BYTES,
            },
            "cluster": {
                "name": "airut",
                "host": host.address,
                "port": _ROUTES,
                "routes": [f"nats://{other.address}:{_ROUTES}" for other in self.switch.hosts],
            },
        }
        file = folder / "nats.conf"
        file.write_text(json.dumps(config))
        with (folder / "nats.log").open("ab") as log:
            self.processes[host.namespace] = await asyncio.create_subprocess_exec(
                *host.command(nats_server_binary(), "-c", str(file)), stdout=log, stderr=log
            )

    async def kill(self, host: NetworkHost) -> None:
        """As a crash would."""
        process = self.processes[host.namespace]
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def settled(self, bus: Bus) -> None:
        """Wait until every stream has a leader and the same on all servers: after a cable was plugged in again, they
        elect anew, and nothing is stored meanwhile."""
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                if await _is_settled(bus, len(self.switch.hosts)):
                    return
                await asyncio.sleep(0.2)


async def _is_settled(bus: Bus, servers: int) -> bool:
    try:
        groups = [stream.cluster for stream in await bus.client.jetstream().streams_info()]
    except (NatsError, TimeoutError):
        return False
    return all(
        group is not None
        and group.leader
        and len(followers := group.replicas or []) == servers - 1
        and all(follower.current and not follower.offline for follower in followers)
        for group in groups
    )


@asynccontextmanager
async def nats_cluster(folder: Path, switch: Switch) -> AsyncIterator[NatsCluster]:
    """A cluster that has elected its leaders, with Airut's streams on every server."""
    folder.mkdir()
    cluster = NatsCluster(folder, switch)
    try:
        for host in switch.hosts:
            await cluster.start(host)
        async with asyncio.timeout(_READY_SECONDS):
            await _prepare(cluster)
        yield cluster
    finally:
        for host in switch.hosts:
            if host.namespace in cluster.processes:
                await cluster.kill(host)


async def _prepare(cluster: NatsCluster) -> None:
    while True:
        try:
            async with open_bus(cluster.url, name="admin", nkey_seed_file=None) as admin:
                await admin.ensure_topology(replicas=len(cluster.switch.hosts))
                return
        except BusUnavailable:
            await asyncio.sleep(0.2)  # no leader yet

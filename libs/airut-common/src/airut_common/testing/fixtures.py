"""pytest fixtures, loaded by the conftest.py at the root."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from airut_common.bus import Bus, open_bus
from airut_common.bus.server import NatsServer


@pytest.fixture
async def nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """A real server of this test's own, with streams and buckets, that admits everybody. Starts in 0.1 s."""
    folder: Path = tmp_path_factory.mktemp("nats")
    server = NatsServer(folder)
    async with server.running():
        async with open_bus(server.url, name="admin", nkey_seed_file=None) as admin:
            await admin.ensure_topology()
        yield server


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A connection to `nats_server`."""
    async with open_bus(nats_server.url, name="test", nkey_seed_file=None) as bus:
        yield bus

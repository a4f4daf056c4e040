"""The embedded server and the way onto it."""

import asyncio
import json
from pathlib import Path

import pytest

from airut_common.bus import BusTooOld, BusUnavailable, open_bus
from airut_common.bus.connect import require_floor
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import BLOB_BUCKET, BUCKETS, CONSUMERS, STREAMS

LIMIT = 20


def test_its_configuration_is_durable_local_and_bounded(tmp_path: Path) -> None:
    config = json.loads(NatsServer(tmp_path, 4222).config_text())
    assert config["host"] == "127.0.0.1"
    assert config["port"] == 4222
    assert config["jetstream"]["sync_interval"] == "always"
    assert config["max_payload"] == 8 * 1024 * 1024
    assert not {"http", "monitor_port", "no_auth_user", "cluster", "websocket"} & set(config)


def test_with_keys_everybody_has_rights_of_their_own(tmp_path: Path) -> None:
    config = json.loads(NatsServer(tmp_path, 4222, nkeys={"dashboard": "UAAA"}).config_text())
    [user] = config["authorization"]["users"]
    assert user["nkey"] == "UAAA"
    assert user["permissions"]["subscribe"] == {"allow": ["_INBOX_dashboard.>"]}


def test_its_folder_and_configuration_are_private(tmp_path: Path) -> None:
    NatsServer(tmp_path / "n").write_config()
    assert (tmp_path / "n").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "n" / "nats.conf").stat().st_mode & 0o777 == 0o600


async def test_it_keeps_the_port_it_found_and_what_it_stored(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    async with server.running():
        port = server.port
        assert port
        async with open_bus(server.url, name="admin", nkey_seed_file=None) as bus:
            await bus.ensure_topology()
            await bus.kv_put("airut_config", "x", b"1")
    async with server.running(), open_bus(server.url, name="admin", nkey_seed_file=None) as bus:
        assert server.port == port
        entry = await bus.kv_get("airut_config", "x")
        assert entry is not None
        assert entry.value == b"1"


async def test_a_taken_port_is_said(nats_server: NatsServer, tmp_path: Path) -> None:
    other = NatsServer(tmp_path, nats_server.port)
    with pytest.raises(BusUnavailable, match="address already in use"):
        await other.start()


async def test_the_topology_is_there_and_may_be_ensured_again(nats_server: NatsServer) -> None:
    async with open_bus(nats_server.url, name="admin", nkey_seed_file=None) as bus:
        await bus.ensure_topology()
        names = {info.config.name for info in await bus._js.streams_info()}
        expected = {stream.name for stream in STREAMS} | {f"KV_{bucket}" for bucket in BUCKETS}
        assert names == expected | {f"OBJ_{BLOB_BUCKET}"}
        for consumer in CONSUMERS:
            info = await bus._js.consumer_info(consumer.stream, consumer.name)
            assert info.config.ack_wait == 30


@pytest.mark.parametrize(
    ("version", "good"), [((2, 10), False), ((1, 99), False), ((2, 11), True), ((3, 0), True)]
)
def test_the_floor(version: tuple[int, int], good: bool) -> None:
    if good:
        require_floor(*version)
    else:
        with pytest.raises(BusTooOld, match=r"2\.11 or newer"):
            require_floor(*version)


async def test_an_old_server_is_refused_at_the_connection() -> None:
    """Older ones silently ignore what we rely on; Debian 12 ships 2.9.10."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.9.10", "headers": True, "max_payload": 1024, "proto": 1}
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BusTooOld, match=r"nats-server 2\.9 is too old"):
            async with open_bus(f"nats://127.0.0.1:{port}", name="x", nkey_seed_file=None):
                pass


async def test_closed_for_good_is_said(nats_server: NatsServer) -> None:
    closed = asyncio.Event()
    async with open_bus(nats_server.url, name="x", nkey_seed_file=None, on_closed=closed.set) as bus:
        await bus.client.close()
        await asyncio.wait_for(closed.wait(), LIMIT)

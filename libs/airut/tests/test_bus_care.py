"""A real nats-server on a real disk that is full for a while."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from airut import bus_care
from airut.bus_care import BusCare
from airut.supervisor import Child, ChildSpec
from airut_common.bus import Bus, BusUnavailable, open_bus
from airut_common.bus.server import NatsServer
from airut_common.contracts.v1 import ServiceEvent, utc_now
from airut_common.testing.ports import free_port

LIMIT = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192M", "airut-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def publish(bus: Bus) -> None:
    event = ServiceEvent(service="x", at=utc_now(), level="info", code="x", text="x" * 10_000)
    await bus.publish("airut.v1.event.service.x", event)


def fill(file: Path) -> None:
    free = os.statvfs(file.parent)
    with file.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize)


@pytest.mark.integration
async def test_when_there_is_room_again_the_bus_takes_messages_again(disk: Path, monkeypatch) -> None:
    monkeypatch.setattr(bus_care, "SETTLE_SECONDS", 1.0)
    server = NatsServer(disk / "nats", port=free_port())
    lines: list[str] = []

    def write(_: str, line: str) -> None:
        lines.append(line)
        care.heard(line)

    child = Child(ChildSpec("nats-server", server.write_config(), dict(os.environ)), write)
    care = BusCare(disk, child.restart)
    loops = [asyncio.create_task(child.supervise()), asyncio.create_task(care.look_after())]
    try:
        async with asyncio.timeout(LIMIT), open_bus(server.url, name="admin", nkey_seed_file=None) as bus:
            await bus.ensure_topology()
            await publish(bus)
            fill(disk / "filler")
            while not any("failed to store" in line for line in lines):
                with contextlib.suppress(BusUnavailable):
                    await publish(bus)
            assert child.restarts == 0, "no room, no use"
            (disk / "filler").unlink()
            while True:
                try:
                    await publish(bus)
                except BusUnavailable:
                    continue
                break
    finally:
        await child.stop()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    assert child.restarts >= 1


async def test_other_words_of_the_server_are_nothing_to_it(tmp_path: Path, monkeypatch) -> None:
    restarts: list[bool] = []
    monkeypatch.setattr(bus_care, "SETTLE_SECONDS", 0.0)
    care = BusCare(tmp_path, lambda: restarts.append(True))
    looking = asyncio.create_task(care.look_after())
    care.heard("[INF] Server is ready")
    care.heard("[WRN] JetStream is slow")
    await asyncio.sleep(0.05)
    assert restarts == []
    care.heard("[ERR] JetStream failed to store a msg on stream 'X': no space left on device")
    async with asyncio.timeout(5):
        while not restarts:
            await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)

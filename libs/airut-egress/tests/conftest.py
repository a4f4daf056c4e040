"""An upstream and a sandbox on loopback; no container, no namespace."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from airut_egress.engine import EngineSettings
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World, running_world

NAMES = ("api.example.test", "other.example.test", "one.allowed.test", "two.allowed.test")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def origin(authority: trustme.CA) -> AsyncIterator[Origin]:
    async with Origin(NAMES, authority).running() as origin:
        yield origin


@pytest.fixture
async def world(origin: Origin, tmp_path: Path) -> AsyncIterator[World]:
    settings = EngineSettings(
        connect_to=dict.fromkeys(NAMES, origin.tls_address) | {"plain.allowed.test": origin.plain_address},
        ca_file=origin.write_ca(tmp_path / "upstream-ca.pem"),
        resolver="127.0.0.1:9",
    )
    async with running_world(tmp_path / "state", settings) as world:
        yield world

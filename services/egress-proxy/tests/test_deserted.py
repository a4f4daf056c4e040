"""Sessions whose sandbox is gone, and whom nobody closed."""

from pathlib import Path

import pytest

from airut_common.contracts.v1 import EgressEvent
from airut_egress.engine import Engine, EngineSettings
from airut_egress.engines import OneEngine
from airut_egress.sessions import SandboxNetworks

from .conftest import open_session
from .test_namespace import namespace

pytestmark = pytest.mark.integration


class Events:
    def record(self, event: EgressEvent) -> None:
        """Nobody watches."""


async def test_a_session_ends_with_its_namespace(tmp_path: Path) -> None:
    """Field notes 35: listening sockets keep a namespace and two descriptors."""
    engine = Engine(EngineSettings(), sink=Events(), installation_key=b"k" * 32, state_dir=tmp_path / "state")
    networks = SandboxNetworks(OneEngine(engine), attach_socket=tmp_path / "a.sock")
    async with networks.running():
        waiting, inhabited = open_session(), open_session()
        await networks.open(waiting, {})
        opened = await networks.open(inhabited, {})
        async with namespace(tmp_path) as inside:
            await inside.attach(opened)
            assert await networks.close_deserted() == []
            assert await networks.close_deserted() == []
        assert await networks.close_deserted() == []  # one look is not enough
        assert await networks.close_deserted() == [inhabited.sandbox]
        assert set(networks.sessions) == {waiting.sandbox}
        assert (await networks.close(inhabited.sandbox)).requests == 0

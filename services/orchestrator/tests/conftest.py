from collections.abc import AsyncIterator

import pytest

from airut_orchestrator.database.connection import open_database
from airut_orchestrator.database.store import Store

pytest_plugins = ["airut_common.testing.fixtures"]


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with open_database(tmp_path / "orchestrator.db") as engine:
        yield Store(engine)

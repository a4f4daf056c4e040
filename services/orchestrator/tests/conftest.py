import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from pydantic import TypeAdapter

from airut_common.bus import Bus
from airut_common.contracts.v1 import TaskEvent
from airut_orchestrator.database.connection import open_database
from airut_orchestrator.database.store import Store

EVENT = TypeAdapter(TaskEvent)


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with open_database(tmp_path / "orchestrator.db") as engine:
        yield Store(engine)


async def recorded(bus: Bus, count: int) -> list:
    """The first `count` events of tasks on the bus."""
    found: list = []
    async with asyncio.timeout(10), aclosing(bus.replay(["airut.v1.event.task.>"])) as events:
        async for stored in events:
            found.append(EVENT.validate_json(stored.data))
            if len(found) == count:
                break
    return found

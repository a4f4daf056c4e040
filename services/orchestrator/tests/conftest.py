import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from pydantic import TypeAdapter
from sqlalchemy import URL

from airut_common.bus import Bus
from airut_common.contracts.v1 import TaskEvent
from airut_orchestrator.database.connection import URL_VARIABLE, Database, database_url, open_database
from airut_orchestrator.database.store import Store
from airut_orchestrator.testing.postgres import PostgresServer, postgres_server

EVENT = TypeAdapter(TaskEvent)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> URL:
    """Where a database may be made: every test that asks for one runs on both kinds."""
    if request.param == "sqlite":
        return database_url({}, tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return database_url({URL_VARIABLE: server.new_database().render_as_string()}, tmp_path)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service_database(request) -> URL | None:
    """What a whole service is given: every test of it runs on both kinds."""
    if request.param == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
async def database(place) -> AsyncIterator[Database]:
    async with open_database(place) as opened:
        yield opened


@pytest.fixture
async def store(database) -> Store:
    return Store(database)


async def recorded(bus: Bus, count: int) -> list:
    """The first `count` events of tasks on the bus."""
    found: list = []
    async with asyncio.timeout(10), aclosing(bus.replay(["airut.v1.event.task.>"])) as events:
        async for stored in events:
            found.append(EVENT.validate_json(stored.data))
            if len(found) == count:
                break
    return found

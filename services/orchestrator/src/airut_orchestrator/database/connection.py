"""Opening the database: pragmas that make SQLite keep its promises, migrations, then sessions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_MILLISECONDS = 10_000


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[AsyncEngine]:
    """Bring the file's schema up to date and open it; it is created when it is not there (0600)."""
    path.touch(mode=0o600)
    await asyncio.to_thread(_migrate, path)
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    _set_pragmas(engine.sync_engine)
    try:
        yield engine
    finally:
        await engine.dispose()


def _migrate(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    _set_pragmas(engine)
    try:
        with as_file(files("airut_orchestrator.database").joinpath("migrations")) as scripts:
            config = Config()
            config.set_main_option("script_location", str(scripts))
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    finally:
        engine.dispose()


def _set_pragmas(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver's own idea of when a transaction begins is after the first SELECT: what was looked at could have
        # changed by the time of the write. See SQLAlchemy's "Serializable isolation / Savepoints" for SQLite.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode = WAL",
            # What was committed survives a power cut: the request is acknowledged right afterwards.
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {BUSY_MILLISECONDS}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # At once for writing: a transaction that reads first and then wants to write is refused without any wait
        # when another one wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

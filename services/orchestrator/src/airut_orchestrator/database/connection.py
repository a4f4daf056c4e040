"""Opening the database: SQLite in the state folder, or PostgreSQL by URL. Migrations first, then transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from airut_common.lifecycle import CannotRun

URL_VARIABLE: Final = "AIRUT_DATABASE_URL"
BUSY_MILLISECONDS: Final = 10_000
THREADS: Final = 4
_CONNECT_SECONDS: Final = 5
_SILENCE_SECONDS: Final = 10
_TRIES: Final = 5
_MIGRATION_LOCK: Final = 0x616972757401
"""Any number that nobody else uses: PostgreSQL knows advisory locks by number."""
_TRY_AGAIN: Final = {"40001", "40P01"}
"""PostgreSQL: serialization failure, deadlock (appendix A of its manual)."""


class DatabaseUnusable(CannotRun):
    """It cannot be opened; the text says why, and which setting is meant."""


class Database:
    """Transactions, each a function that runs in a thread: one hop for all of its statements."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")

    @property
    def is_shared(self) -> bool:
        """Whether orchestrators of other hosts may work with it."""
        return self._engine.dialect.name != "sqlite"

    async def transact[T](self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction. It may run again when another transaction was in its way, and it runs to its
        end when the caller is cancelled.

        Raises:
            SQLAlchemyError: nothing was changed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._transact, work)

    def close(self) -> None:
        """Wait for what is under way, then let go of every connection."""
        self._threads.shutdown()
        self._engine.dispose()

    def _transact[T](self, work: Callable[[Session], T]) -> T:
        for _ in range(_TRIES - 1):
            try:
                return self._once(work)
            except DBAPIError as error:
                if not _was_in_the_way(error):
                    raise
        return self._once(work)

    def _once[T](self, work: Callable[[Session], T]) -> T:
        with self._sessions.begin() as session:
            return work(session)


def database_url(environment: Mapping[str, str], state: Path) -> URL:
    """`AIRUT_DATABASE_URL`, or a file in the service's own folder.

    Raises:
        DatabaseUnusable: the variable holds something else than a URL of PostgreSQL.
    """
    given = environment.get(URL_VARIABLE)
    if not given:
        return sqlite_url(state / "orchestrator.db")
    try:
        url = make_url(given)
    except ArgumentError:
        url = None  # its text would be in the message, and with it the password
    if url is None or url.drivername not in {"postgresql", "postgres"}:
        raise DatabaseUnusable(
            f"{URL_VARIABLE} must look like postgresql://user@host/database, or not be set for SQLite"
        )
    return url.set(drivername="postgresql+psycopg")


def sqlite_url(path: Path) -> URL:
    """The URL of a file."""
    return URL.create("sqlite", database=str(path))


@asynccontextmanager
async def open_database(url: URL) -> AsyncIterator[Database]:
    """Bring the schema up to date and open it; SQLite's file is created when it is not there (0600).

    Raises:
        DatabaseUnusable: it cannot be reached, or was made by a newer Airut.
    """
    engine = _engine(url)
    try:
        await asyncio.to_thread(_migrate, engine)
    except CommandError as error:
        engine.dispose()
        raise DatabaseUnusable(
            f"the database {_shown(url)} was made by a newer Airut, or is none of Airut's: {error}"
        ) from None
    except SQLAlchemyError as error:
        engine.dispose()
        raise DatabaseUnusable(
            f"the database {_shown(url)} cannot be used: {getattr(error, 'orig', None) or error}"
        ) from error
    database = Database(engine)
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").touch(mode=0o600)
        engine = create_engine(url)
        _set_pragmas(engine)
        return engine
    return create_engine(
        url,
        pool_size=THREADS,
        max_overflow=0,
        # A server that was restarted is noticed before a transaction fails on it.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            # A host whose cable was pulled says nothing any more: without these, a question waits for a quarter hour.
            "tcp_user_timeout": _SILENCE_SECONDS * 1000,
            "keepalives_idle": _SILENCE_SECONDS // 2,
            "keepalives_interval": 2,
            "application_name": "airut-orchestrator",
            "options": f"-c lock_timeout={BUSY_MILLISECONDS} -c statement_timeout=30000"
            " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC",
        },
    )


def _migrate(engine: Engine) -> None:
    with as_file(files("airut_orchestrator.database").joinpath("migrations")) as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Orchestrators of two hosts may be started at the same moment.
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _was_in_the_way(error: DBAPIError) -> bool:
    """Whether the same again can succeed: two transactions made the same row, or waited for each other."""
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) in _TRY_AGAIN


def _shown(url: URL) -> str:
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()


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

"""The orchestrator's database: requests taken in from the bus, and the next task found among many that wait."""

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Final

from airut_common.bus import Bus, open_bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.contracts.v1 import TaskRequest, new_id, subjects
from airut_common.testing.builders import reply, task_request
from airut_orchestrator.acknowledge import Acknowledger
from airut_orchestrator.app import CLAIM_CONCURRENCY
from airut_orchestrator.claim import Claim
from airut_orchestrator.database.connection import open_database, sqlite_url
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from bench.rows import Row, p50, p99

REQUESTS: Final = 2_000
FEW: Final = 10
MANY: Final = 10_000
CLAIMS: Final = 200


async def measure() -> list[Row]:
    """What is taken in, then what is found."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        taken = await _taken_in(folder)
        raw = await asyncio.to_thread(_raw_rows, folder / "raw.db")
        few = await _claims(folder / "few.db", FEW, in_one=False)
        many = await _claims(folder / "many.db", MANY, in_one=False)
        behind = await _claims(folder / "behind.db", MANY, in_one=True)
    return [
        Row(
            f"requests/s from the stream to the commit and its acknowledgement, {REQUESTS:,} of them",
            f"{taken:.0f}/s",
            f"{raw:.0f}/s, the same rows, a bare SQLite transaction each",
            "≥ 500/s",
            taken >= 500,
        ),
        _claim_row(f"the next task of {MANY:,} that wait, p50 / p99", many, few),
        _claim_row(f"  when {MANY - CLAIMS:,} before it wait for one busy conversation", behind, few),
    ]


def _claim_row(what: str, ours: list[float], few: list[float]) -> Row:
    return Row(what, _times(ours), f"{_times(few)} of {FEW}", "p99 < 20 ms", p99(ours) < 20)


def _times(values: list[float]) -> str:
    return f"{p50(values):.1f} / {p99(values):.1f} ms"


async def _taken_in(folder: Path) -> float:
    nats = NatsServer(folder / "nats")
    async with (
        nats.running(),
        open_bus(nats.url, name="bench", nkey_seed_file=None) as bus,
        open_database(sqlite_url(folder / "taken.db")) as database,
    ):
        await bus.ensure_topology()
        for _ in range(REQUESTS):
            request = task_request()
            await bus.publish(subjects.task_requested(request.repo), request, msg_id=request.id)
        return await _consume(bus, Store(database))


async def _consume(bus: Bus, store: Store) -> float:
    count, done = 0, asyncio.Event()

    async def no_wish(_task: QueuedTask) -> None:
        raise AssertionError("nobody asked to stop anything, and there is room for all")

    def claimed() -> None:
        nonlocal count
        count += 1
        if count == REQUESTS:
            done.set()

    claim = Claim(
        store,
        TaskEvents(bus),
        Acknowledger(bus, wanted=lambda: False, page=lambda _task: None),
        claimed=claimed,
        has_room=lambda: False,
        wish=no_wish,
        disk_full=lambda: None,
        max_queue=lambda: {"demo": 2 * REQUESTS},
        replied=lambda: None,
    )
    began = time.monotonic()
    consuming = asyncio.create_task(
        bus.consume(ORCHESTRATOR_TASKS, TaskRequest, claim, concurrency=CLAIM_CONCURRENCY)
    )
    async with asyncio.timeout(120):
        await done.wait()
    took = time.monotonic() - began
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    return REQUESTS / took


def _raw_rows(path: Path) -> float:
    """The same two rows for each request, as synchronous as ours, and no bus."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE conversations (id TEXT PRIMARY KEY, repo TEXT)")
    connection.execute("CREATE TABLE tasks (id TEXT PRIMARY KEY, conversation TEXT, request TEXT)")
    requests = [task_request() for _ in range(REQUESTS // 4)]
    began = time.monotonic()
    for request in requests:
        conversation = new_id()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO conversations VALUES (?, ?)", (conversation, request.repo))
        connection.execute(
            "INSERT INTO tasks VALUES (?, ?, ?)", (request.id, conversation, request.model_dump_json())
        )
        connection.execute("COMMIT")
    took = time.monotonic() - began
    connection.close()
    return len(requests) / took


async def _claims(path: Path, waiting: int, *, in_one: bool) -> list[float]:
    """Milliseconds of each claim; the task is then answered, and another one comes. `in_one`: most that wait belong
    to a conversation that is at work, and came before all others."""
    async with open_database(sqlite_url(path)) as database:
        store = Store(database)
        busy: str | None = None
        if in_one:
            (first,) = await store.add(task_request())
            assert first is not None
            assert await store.begin_next() is not None
            busy = first.conversation
        alone = CLAIMS if in_one else waiting
        requests = [task_request(conversation=busy) for _ in range(waiting - alone)] if in_one else []
        requests += [task_request() for _ in range(alone)]
        for start in range(0, len(requests), 500):
            await store.add(*requests[start : start + 500])
        times = []
        for _ in range(CLAIMS):
            began = time.perf_counter()
            task = await store.begin_next()
            times.append((time.perf_counter() - began) * 1000)
            assert task is not None
            await store.finish(reply(id=task.id, conversation=task.conversation), None)
            await store.add(task_request())
        return times

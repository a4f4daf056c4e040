import asyncio
import sqlite3

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import airut_orchestrator.database.store as store_module
from airut_common.contracts.v1 import utc_now
from airut_common.testing.builders import reply, task_request
from airut_orchestrator.database import connection
from airut_orchestrator.database.connection import open_database
from airut_orchestrator.database.store import Store


async def conversation_of(store: Store, **request) -> str:
    return (await store.add(task_request(**request))).conversation


async def begin(store: Store):
    task = await store.begin_next()
    assert task is not None
    return task


async def test_row_54_a_second_delivery_changes_nothing(store: Store) -> None:
    request = task_request()
    first = await store.add(request)
    again = await store.add(request)
    assert first == again
    assert (await begin(store)).id == request.id
    assert await store.begin_next() is None
    assert await store.add(request) is None, "it has left the queue"
    assert await store.begin_next() is None


async def test_deliveries_at_the_same_moment_are_one_task(store: Store) -> None:
    requests = [task_request(id=f"task-{number % 5}") for number in range(40)]
    await asyncio.gather(*(store.add(request) for request in requests))
    seen = [task.id for _ in range(5) if (task := await store.begin_next())]
    assert sorted(seen) == [f"task-{number}" for number in range(5)]
    assert await store.begin_next() is None


async def test_writers_wait_for_each_other_instead_of_failing(store: Store) -> None:
    """A transaction that reads before it writes must not be told that the database is locked."""
    await asyncio.gather(*(store.add(task_request(id=f"t{number}")) for number in range(30)))
    tasks = await asyncio.gather(*(store.begin_next() for _ in range(30)))
    assert len({task.id for task in tasks}) == 30


async def test_tasks_of_a_conversation_run_one_at_a_time_in_order_others_beside_them(store: Store) -> None:
    conversation = await conversation_of(store, id="a")
    await store.add(task_request(id="b", conversation=conversation))
    await store.add(task_request(id="c"))
    assert (await begin(store)).id == "a"
    assert (await begin(store)).id == "c"
    assert await store.begin_next() is None
    await store.finish(reply(id="a", conversation=conversation), None)
    assert (await begin(store)).id == "b", "a reply that waits for the bus holds nobody up"


async def test_a_conversation_of_another_repository_is_not_joined(store: Store) -> None:
    conversation = await conversation_of(store, repo="one")
    other = await store.add(task_request(repo="two", conversation=conversation))
    assert other.conversation != conversation
    assert other.began_anew


async def test_row_71_an_unknown_conversation_begins_a_new_one(store: Store) -> None:
    added = await store.add(task_request(conversation="guessed"))
    assert added.conversation != "guessed"
    assert added.began_anew
    assert not (await store.add(task_request())).began_anew


async def test_the_agents_session_is_kept_for_the_next_message(store: Store) -> None:
    conversation = await conversation_of(store, id="a")
    await begin(store)
    await store.remember_session(conversation, "s-1")
    await store.finish(reply(id="a", conversation=conversation), None)
    await store.add(task_request(id="b", conversation=conversation))
    assert (await begin(store)).agent_session == "s-1"
    await store.finish(reply(id="b", conversation=conversation), None, "s-2")
    await store.add(task_request(id="c", conversation=conversation))
    assert (await begin(store)).agent_session == "s-2"


async def test_result_and_reply_are_one_and_the_first_reply_stays(store: Store) -> None:
    conversation = await conversation_of(store, id="a")
    await begin(store)
    await store.finish(reply(id="a", conversation=conversation, text="first"), "why")
    await store.finish(reply(id="a", conversation=conversation, text="second"), None)
    assert [(item.reply.text, item.reason) for item in await store.unpublished()] == [("first", "why")]
    await store.published("a", "done")
    assert await store.unpublished() == []
    assert await store.state("a") == "done"
    await store.finish(reply(id="a", conversation=conversation, text="third"), None)
    assert await store.unpublished() == []


async def test_what_was_under_way_at_a_death_is_found_again(tmp_path) -> None:
    async with open_database(tmp_path / "db") as engine:
        store = Store(engine)
        for name in ("preparing", "running", "replied", "waiting"):
            await store.add(task_request(id=name))
        sandboxes = [(await begin(store)).sandbox for _ in range(3)]
        await store.enter_running("running", "of-the-second-try")
        await store.finish(reply(id="replied"), None)
    async with open_database(tmp_path / "db") as engine:
        store = Store(engine)
        assert await store.abandoned() == [], "until it is sure that nobody works on them"
        await store.release_all()
        found = [(task.id, task.attempts, task.sandbox) for task in await store.abandoned()]
        assert found == [("preparing", 1, sandboxes[0]), ("running", 1, "of-the-second-try")]
        assert [item.reply.id for item in await store.unpublished()] == ["replied"]
        await store.requeue("running")
        again = await begin(store)
        assert (again.id, again.attempts) == ("running", 2)
        assert again.sandbox not in sandboxes


async def test_a_lease_that_is_renewed_does_not_end(store: Store, monkeypatch) -> None:
    await store.add(task_request(id="a"))
    await store.add(task_request(id="b"))
    await begin(store)
    await begin(store)
    later = utc_now() + store_module.LEASE
    monkeypatch.setattr(store_module, "utc_now", lambda: later)
    await store.renew(["a"])
    monkeypatch.setattr(store_module, "utc_now", lambda: later + store_module.LEASE / 2)
    assert [task.id for task in await store.abandoned()] == ["b"]


async def test_another_hosts_conversations_and_leases_are_left_alone(tmp_path) -> None:
    async with open_database(tmp_path / "db") as engine:
        here, there = Store(engine, "here"), Store(engine, "there")
        conversation = await conversation_of(here, id="a")
        assert (await begin(there)).id == "a"
        await here.release_all()
        assert await here.abandoned() == []
        await there.finish(reply(id="a"), None)
        await here.add(task_request(id="b", conversation=conversation))
        assert await here.begin_next() is None
        assert (await begin(there)).id == "b"


async def test_a_graceful_stop_does_not_count_as_an_attempt(store: Store) -> None:
    await store.add(task_request(id="a"))
    await begin(store)
    await store.put_back("a")
    assert (await begin(store)).attempts == 1


@pytest.mark.parametrize("late", ["put_back", "requeue"])
async def test_a_finished_task_is_not_queued_again(store: Store, late: str) -> None:
    await store.add(task_request(id="a"))
    await begin(store)
    await store.finish(reply(id="a"), None)
    await getattr(store, late)("a")
    assert await store.state("a") == "replying"


async def test_the_database_is_private_and_keeps_its_promises(tmp_path) -> None:
    async with open_database(tmp_path / "db") as engine:
        assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
        async with engine.connect() as session:
            values = [
                (await session.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
    assert values == ["wal", 2, 1, connection.BUSY_MILLISECONDS]


async def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path) -> None:
    path = tmp_path / "db"
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", "airut_orchestrator.database:migrations")
    with engine.begin() as first:
        config.attributes["connection"] = first
        command.upgrade(config, "0001")
    engine.dispose()
    request = task_request(id="old")
    with sqlite3.connect(path) as old:
        now = utc_now().replace(tzinfo=None).isoformat(" ")
        old.execute("INSERT INTO conversations VALUES ('c', 'demo', NULL, ?, ?)", (now, now))
        old.execute(
            "INSERT INTO tasks VALUES (1, 'old', 'c', 'demo', 'running', 1, ?, NULL, ?, NULL)",
            (request.model_dump_json(), now),
        )
    old.close()
    async with open_database(path) as opened:
        store = Store(opened)
        await store.release_all()
        assert [task.id for task in await store.abandoned()] == ["old"]

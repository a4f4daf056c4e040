"""Several hosts with one database: nothing runs twice, nothing waits for one that is gone."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from airut_common.testing.builders import reply, task_request
from airut_orchestrator.database.connection import (
    URL_VARIABLE,
    Database,
    DatabaseUnusable,
    database_url,
    open_database,
)
from airut_orchestrator.database.schema import Task
from airut_orchestrator.database.store import Store

HOSTS = ("a", "b", "c")


@pytest.fixture
def stores(database) -> list[Store]:
    return [Store(database, host) for host in HOSTS]


async def test_hosts_that_begin_at_the_same_moment_share_the_work_and_no_conversation(stores) -> None:
    conversations = []
    for number in range(12):
        (task,) = await stores[0].add(task_request(id=f"first-{number}"))
        conversations.append(task.conversation)
        for later in range(2):
            await stores[0].add(
                task_request(id=f"later-{number}-{later}", conversation=task.conversation, text="Stop.")
            )
    for _ in range(3):
        found = await asyncio.gather(*(stores[number % 3].begin_next() for number in range(20)))
        begun = [task for task in found if task is not None]
        assert sorted(task.conversation for task in begun) == sorted(conversations), "each once, none beside"
        for store in stores:
            for task in begun:
                await store.finish(reply(id=task.id, conversation=task.conversation), None)
    assert await stores[0].begin_next() is None


async def test_a_conversation_that_is_begun_elsewhere_in_the_same_moment_is_not_begun_twice(stores) -> None:
    """The moment between looking and locking: many rounds of two hosts that reach for two tasks of one thread."""
    (task,) = await stores[0].add(task_request(id="t-0"))
    conversation = task.conversation
    for number in range(40):
        await stores[0].add(task_request(id=f"x-{number}", conversation=conversation, text="stop"))
        found = await asyncio.gather(*(stores[each % 3].begin_next() for each in range(6)))
        (begun,) = [each for each in found if each is not None]
        for store in stores:
            await store.finish(reply(id=begun.id, conversation=conversation), None)


async def test_one_request_that_reaches_two_hosts_is_one_task(stores) -> None:
    requests = [task_request(id=f"r-{number}") for number in range(20)]
    found = await asyncio.gather(*(store.add(request) for store in stores for request in requests))
    assert len(found) == 60
    begun = [await stores[0].begin_next() for _ in requests]
    assert sorted(task.id for task in begun) == sorted(request.id for request in requests)
    assert await stores[0].begin_next() is None


async def test_a_lost_hosts_tasks_and_conversations_go_to_who_is_left(stores) -> None:
    a, b, c = stores
    for store in stores:
        await store.be_seen()
    (waiting,) = await a.add(task_request(id="one"))
    assert (await a.begin_next()).id == "one"
    await a.remember_session(waiting.conversation, "session")
    await a.add(task_request(id="two", conversation=waiting.conversation))
    assert await b.begin_next() is None, "its conversation lies elsewhere"
    assert await b.take_over(timedelta(seconds=30)) == [], "all of them live"
    await c.be_seen()
    (found, _) = sorted(await b.take_over(timedelta(seconds=-1)), key=lambda each: each.host)
    assert (found.host, found.conversations, found.tasks) == ("a", 1, 1)
    (task,) = await b.abandoned()
    assert task.id == "one"
    await b.requeue("one")
    again = await c.begin_next()
    assert (again.id, again.attempts, again.lost_with, again.agent_session) == ("one", 2, "a", "session")
    assert await a.renew(["one"]) == set(), "and `a`, if it was only away, learns it"
    await a.finish(reply(id="one", conversation=again.conversation, text="too late"), None)
    await a.put_back("one")
    assert await c.state("one") == "preparing"
    await c.remember_session(again.conversation, "new")
    await c.finish(reply(id="one", conversation=again.conversation), None)
    following = await c.begin_next()
    assert (following.id, following.lost_with, following.agent_session) == ("two", None, "new")


async def test_a_loss_stays_to_be_made_good_until_an_agent_has_begun(stores) -> None:
    a, b, _ = stores
    await a.be_seen()
    (first,) = await a.add(task_request())
    await a.begin_next()
    await b.take_over(timedelta(seconds=-1))
    await b.abandoned()
    await b.requeue(first.id)
    for begun, lost in ((False, "a"), (True, "a"), (True, None)):
        task = await b.begin_next()
        assert task.lost_with == lost
        await b.finish(reply(id=task.id, conversation=task.conversation), None, begun=begun)
        await b.add(task_request(conversation=first.conversation))


async def test_a_host_that_comes_back_first_goes_on_where_it_was(stores) -> None:
    a, b, _ = stores
    await a.be_seen()
    (task,) = await a.add(task_request(id="one"))
    await a.begin_next()
    await a.remember_session(task.conversation, "session")
    await b.take_over(timedelta(seconds=-1))
    await b.abandoned()
    await b.requeue("one")
    again = await a.begin_next()
    assert (again.lost_with, again.agent_session) == (None, "session")


async def test_a_host_that_comes_back_after_another_one_had_its_conversation_begins_anew(stores) -> None:
    a, b, c = stores
    (task,) = await a.add(task_request(id="one"))
    conversation = task.conversation
    for number, (here, lost, known) in enumerate(
        [(a, None, None), (b, "a", "session-0"), (a, "b", "session-1")]
    ):
        await here.be_seen()
        begun = await here.begin_next()
        assert (begun.lost_with, begun.agent_session) == (lost, known)
        await here.finish(reply(id=begun.id, conversation=conversation), None, f"session-{number}")
        await c.take_over(timedelta(seconds=-1))
        await c.add(task_request(conversation=conversation))


async def test_a_host_does_not_begin_what_it_still_runs(stores) -> None:
    a, b, _ = stores
    await a.add(task_request(id="one"))
    await a.begin_next()
    await a.be_seen()
    await b.take_over(timedelta(seconds=-1))
    await b.requeue("one")
    assert await a.begin_next(("one",)) is None
    assert (await b.begin_next()).id == "one"


async def test_each_host_publishes_the_replies_of_its_own_conversations(stores) -> None:
    a, b, _ = stores
    (task,) = await a.add(task_request(id="one"))
    await a.begin_next()
    await a.finish(reply(id="one", conversation=task.conversation), None)
    assert await b.unpublished() == []
    assert [item.reply.id for item in await a.unpublished()] == ["one"]
    await a.be_seen()
    await b.take_over(timedelta(seconds=-1))
    assert [item.reply.id for item in await b.unpublished()] == ["one"], "nor is one lost with its host"


async def test_where_a_task_runs_is_known_elsewhere(stores) -> None:
    a, b, _ = stores
    (task,) = await a.add(task_request(id="one"))
    assert await b.elsewhere(task="one") == []
    await a.begin_next()
    assert (
        await b.elsewhere(task="one") == await b.elsewhere(conversation=task.conversation) == [("one", "a")]
    )
    assert await a.elsewhere(task="one") == []


# -- PostgreSQL itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    ["mysql://x@y/z", "sqlite:///x", "postgresql+asyncpg://h/d", "not a url", "postgresql//:secret@h"],
)
def test_a_url_that_is_none_is_refused_without_being_repeated(given: str, tmp_path) -> None:
    with pytest.raises(DatabaseUnusable, match=URL_VARIABLE) as caught:
        database_url({URL_VARIABLE: given}, tmp_path)
    assert "secret" not in str(caught.value)


async def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path) -> None:
    url = database_url(
        {URL_VARIABLE: f"postgresql://ada:secret@/db?host={tmp_path}&connect_timeout=1"}, tmp_path
    )
    with pytest.raises(DatabaseUnusable, match="cannot be used") as caught:
        async with open_database(url):
            pass
    assert "secret" not in str(caught.value)
    assert "ada" in str(caught.value)


async def test_orchestrators_that_start_together_make_the_schema_once(postgres, tmp_path) -> None:
    url = database_url({URL_VARIABLE: postgres.new_database().render_as_string()}, tmp_path)

    async def start() -> None:
        async with open_database(url) as opened:
            await Store(opened).conversations()

    await asyncio.gather(*(start() for _ in range(4)))


async def test_a_database_of_a_newer_airut_is_left_alone(place) -> None:
    async with open_database(place) as opened:
        await opened.transact(
            lambda session: session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        )
    with pytest.raises(DatabaseUnusable, match="newer Airut"):
        async with open_database(place):
            pass


async def test_a_restarted_server_costs_no_task(postgres, tmp_path) -> None:
    url = database_url({URL_VARIABLE: postgres.new_database().render_as_string()}, tmp_path)
    async with open_database(url) as opened:
        store = Store(opened)
        await store.add(task_request(id="one"))
        postgres.kill()
        try:
            with pytest.raises(SQLAlchemyError):
                await store.add(task_request(id="two"))
        finally:
            postgres.start()
        await store.add(task_request(id="two"))
        assert [(await store.begin_next()).id for _ in range(2)] == ["one", "two"]


async def test_what_a_hostile_program_says_can_be_stored(store: Store) -> None:
    await store.add(task_request(id="one", text="nul \0 and \x1b[2J"))
    await store.begin_next()
    await store.finish(reply(id="one", text="\0\0"), "why\0not")
    (found,) = await store.unpublished()
    assert (found.reply.text, found.reason) == ("\0\0", "why\ufffdnot")


async def test_two_that_wait_for_each_other_are_both_served(database: Database) -> None:
    """A deadlock ends one of two transactions; it runs again."""
    store = Store(database)
    pairs = [(await store.add(task_request()))[0].conversation for _ in range(2)]
    first = [task_request(conversation=pairs[number % 2]) for number in range(30)]
    second = [task_request(conversation=pairs[(number + 1) % 2]) for number in range(30)]
    await asyncio.gather(*(store.add(*both) for both in zip(first, second, strict=True)))
    count = await database.transact(lambda session: session.scalar(select(func.count(Task.id))))
    assert count == 62

import asyncio
import stat
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, create_engine, text

import airut_orchestrator.database.store as store_module
from airut_common.contracts.v1 import Usage, utc_now
from airut_common.testing.builders import email_route, reply, task_request
from airut_orchestrator.database import connection
from airut_orchestrator.database.connection import database_url, open_database
from airut_orchestrator.database.store import Store
from airut_orchestrator.together import MAX_MESSAGES


async def conversation_of(store: Store, **request) -> str:
    (task,) = await store.add(task_request(**request))
    return task.conversation


def as_it_was(place: URL, revision: str, rows: dict[str, list[dict]]) -> None:
    """Make a database of an earlier version, with something in it."""
    engine = create_engine(place)
    config = Config()
    config.set_main_option("script_location", "airut_orchestrator.database:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for table, entries in rows.items():
            for row in entries:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
    engine.dispose()


async def begin(store: Store):
    task = await store.begin_next()
    assert task is not None
    return task


async def test_row_54_a_second_delivery_changes_nothing(store: Store) -> None:
    request = task_request()
    first = await store.add(request)
    assert await store.add(request) == first
    assert (await begin(store)).id == request.id
    assert await store.begin_next() is None
    assert await store.add(request) == [None], "it has left the queue"
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
    assert (await begin(store)).id == "a"
    await store.add(task_request(id="b", conversation=conversation))
    await store.add(task_request(id="c"))
    assert (await begin(store)).id == "c"
    assert await store.begin_next() is None
    await store.finish(reply(id="a", conversation=conversation), None)
    assert (await begin(store)).id == "b", "a reply that waits for the bus holds nobody up"


async def test_a_conversation_of_another_repository_is_not_joined(store: Store) -> None:
    conversation = await conversation_of(store, repo="one")
    (other,) = await store.add(task_request(repo="two", conversation=conversation))
    assert other.conversation != conversation
    assert other.began_anew


async def test_a_thread_is_answered_from_the_address_that_it_was_begun_to(store: Store) -> None:
    begun_to = email_route(from_address="help@airut.example")
    conversation = await conversation_of(store, route=begun_to)
    later = task_request(
        conversation=conversation, route=email_route(from_address="demo@airut.example", subject="Re: it")
    )
    (task,) = await store.add(later)
    assert (task.request.route.from_address, task.request.route.subject) == ("help@airut.example", "Re: it")
    assert await store.add(later) == [task]


async def test_a_task_is_unanswered_until_it_has_its_reply(store: Store) -> None:
    assert await store.unanswered("a") is None
    (task,) = await store.add(task_request(id="a"))
    assert (await store.unanswered("a")).conversation == task.conversation
    await begin(store)
    assert (await store.unanswered("a")).id == "a"
    await store.finish(reply(id="a", conversation=task.conversation), None)
    assert await store.unanswered("a") is None


async def test_row_71_an_unknown_conversation_begins_a_new_one(store: Store) -> None:
    (added,) = await store.add(task_request(conversation="guessed"))
    assert added.conversation != "guessed"
    assert added.began_anew
    assert not (await store.add(task_request()))[0].began_anew


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


async def test_what_was_under_way_at_a_death_is_found_again(place) -> None:
    async with open_database(place) as engine:
        store = Store(engine)
        for name in ("preparing", "running", "replied", "waiting"):
            await store.add(task_request(id=name))
        sandboxes = [(await begin(store)).sandbox for _ in range(3)]
        await store.enter_running("running", "of-the-second-try")
        await store.finish(reply(id="replied"), None)
    async with open_database(place) as engine:
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


async def test_another_hosts_conversations_and_leases_are_left_alone(place) -> None:
    async with open_database(place) as engine:
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


async def test_sqlite_is_private_and_keeps_its_promises(tmp_path) -> None:
    url = database_url({}, tmp_path)
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    async with open_database(url) as opened:
        assert stat.S_IMODE(Path(url.database).stat().st_mode) == 0o600
        values = await opened.transact(
            lambda session: [session.scalar(text(f"PRAGMA {name}")) for name in names]
        )
    assert values == ["wal", 2, 1, connection.BUSY_MILLISECONDS]


def earlier_versions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", "airut_orchestrator.database:migrations")
    return [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()][1:]


@pytest.mark.parametrize("revision", earlier_versions())
async def test_a_database_of_any_earlier_version_is_brought_up_to_date(place, revision: str) -> None:
    now = utc_now().replace(tzinfo=None).isoformat(" ")
    request = task_request(id="old")
    as_it_was(place, revision, {
        "conversations": [{"id": "c", "repo": "demo", "created_at": now, "last_activity_at": now}],
        "tasks": [{"position": 1, "id": "old", "conversation": "c", "repo": "demo", "state": "running", "attempts": 1,
                   "request": request.model_dump_json(), "claimed_at": now}],
    })  # fmt: skip
    async with open_database(place) as opened:
        store = Store(opened)
        await store.release_all()
        assert [task.id for task in await store.abandoned()] == ["old"]
        await store.keep_session("c", "session", b"memory")
        assert await store.kept_session("c", "session") == b"memory"
        assert await store.kept_session("c", "another") is None


# -- messages that wait together ---------------------------------------------------------------------------


def by(author: str, **values):
    return task_request(sender=author, route=email_route(recipient=author), **values)


async def waiting_three(store: Store) -> str:
    """`a` is at work; `b` and `d` of Ada and `c` of Bob wait."""
    conversation = await conversation_of(store, id="a")
    await begin(store)
    for name, author in (("b", "ada@x.example"), ("c", "bob@x.example"), ("d", "ada@x.example")):
        await store.add(by(author, id=name, conversation=conversation))
    return conversation


async def test_what_waits_is_begun_together_and_every_author_is_answered_once(store: Store) -> None:
    conversation = await waiting_three(store)
    assert await store.begin_next() is None
    await store.finish(reply(id="a", conversation=conversation), None)
    task = await begin(store)
    assert [request.id for request in task.requests] == ["b", "c", "d"]
    assert [await store.state(name) for name in "bcd"] == ["preparing", "merged", "merged"]
    assert await store.add(task.merged[0]) == [None], "a second delivery changes nothing"
    assert await store.begin_next() is None
    await store.published("a", "done")
    await store.finish(reply(id="b", conversation=conversation), None)
    found = await store.unpublished()
    assert [(item.reply.id, item.reply.route.recipient, item.answers) for item in found] == [
        ("b", "ada@x.example", "b"), ("c", "bob@x.example", "b"),
    ]  # fmt: skip
    assert [request.id for request in found[0].merged] == ["c", "d"]
    await store.published("b", "done")
    assert not await store.forget(conversation, utc_now()), "an answer is still on its way"
    await store.published("c", "done")
    assert [await store.state(name) for name in "bcd"] == ["done", "merged", "merged"]
    assert await store.unpublished() == []


async def test_a_run_that_died_is_tried_again_with_the_same_messages_and_no_others(place) -> None:
    async with open_database(place) as engine:
        store = Store(engine)
        conversation = await waiting_three(store)
        await store.finish(reply(id="a", conversation=conversation), None)
        await begin(store)
        await store.add(task_request(id="e", conversation=conversation))
    async with open_database(place) as engine:
        store = Store(engine)
        await store.release_all()
        (found,) = await store.abandoned()
        assert [request.id for request in found.requests] == ["b", "c", "d"]
        await store.requeue("b")
        again = await begin(store)
        assert [request.id for request in again.requests] == ["b", "c", "d"]
        await store.finish(reply(id="b", conversation=conversation), None)
        assert [request.id for request in (await begin(store)).requests] == ["e"]


async def test_a_run_that_was_handed_back_takes_in_what_came_since(store: Store) -> None:
    conversation = await conversation_of(store, id="a")
    await store.add(task_request(id="b", conversation=conversation))
    await begin(store)
    await store.put_back("a")
    await store.add(task_request(id="c", conversation=conversation))
    assert [[request.id for request in task.requests] for task in await store.waiting(task="a")] == [
        ["a", "b"]
    ]
    assert [request.id for request in (await begin(store)).requests] == ["a", "b", "c"]


async def test_a_run_that_is_stopped_while_it_waits_answers_all_its_messages(store: Store) -> None:
    conversation = await conversation_of(store, id="a")
    await store.add(by("bob@x.example", id="b", conversation=conversation))
    await begin(store)
    await store.put_back("a")
    assert not await store.finish_waiting(reply(id="b"), "stopped"), "it is a part of another"
    assert await store.finish_waiting(reply(id="a", conversation=conversation), "stopped")
    assert [item.reply.id for item in await store.unpublished()] == ["a", "b"]
    assert await store.begin_next() is None


async def test_no_more_than_the_limit_go_together_and_the_rest_follows(store: Store) -> None:
    conversation = await conversation_of(store, id="m0")
    for number in range(1, MAX_MESSAGES + 3):
        await store.add(task_request(id=f"m{number}", conversation=conversation))
    first = await begin(store)
    assert len(first.requests) == MAX_MESSAGES
    await store.finish(reply(id="m0", conversation=conversation), None)
    assert [request.id for request in (await begin(store)).requests] == ["m20", "m21", "m22"]


async def test_conversations_are_not_mixed(store: Store) -> None:
    one = await conversation_of(store, id="a")
    two = await conversation_of(store, id="b")
    await store.add(task_request(id="c", conversation=two))
    await store.add(task_request(id="d", conversation=one))
    found = [[request.id for request in (await begin(store)).requests] for _ in range(2)]
    assert found == [["a", "d"], ["b", "c"]]


async def test_a_message_is_told_its_place(store: Store) -> None:
    (first,) = await store.add(task_request(id="a"))
    assert (first.place, first.waits_for_turn) == (1, False)
    await begin(store)
    (second,) = await store.add(task_request(id="b", conversation=first.conversation))
    (third,) = await store.add(task_request(id="c", conversation=first.conversation))
    (other,) = await store.add(task_request(id="d"))
    assert [(task.place, task.waits_for_turn) for task in (second, third, other)] == [
        (1, True), (2, True), (1, False),
    ]  # fmt: skip
    (again,) = await store.add(task_request(id="b", conversation=first.conversation))
    assert again.place == 1


async def test_a_database_of_before_messages_were_merged_is_brought_up_to_date(place) -> None:
    now = utc_now().replace(tzinfo=None).isoformat(" ")
    requests = [task_request(id=name, conversation="c") for name in ("ran", "one", "two")]
    answered = reply(id="ran", conversation="c")
    states = ("replying", "queued", "queued")
    as_it_was(place, "0002", {
        "conversations": [{"id": "c", "repo": "demo", "agent_session": "s", "created_at": now, "last_activity_at": now,
                           "host": "local"}],
        "tasks": [{"position": number, "id": request.id, "conversation": "c", "repo": "demo", "state": state,
                   "attempts": 0, "request": request.model_dump_json(), "claimed_at": now}
                  for number, (request, state) in enumerate(zip(requests, states, strict=True), 1)],
        "replies": [{"task": "ran", "reply": answered.model_dump_json(exclude={"link"})}],
    })  # fmt: skip
    async with open_database(place) as opened:
        store = Store(opened)
        assert [(item.reply, item.answers) for item in await store.unpublished()] == [(answered, "ran")]
        task = await begin(store)
        assert (task.agent_session, [request.id for request in task.requests]) == ("s", ["one", "two"])


async def test_what_was_said_before_a_task_is_told_in_order_and_shortened(store: Store) -> None:
    (first,) = await store.add(task_request(id="m-0", text="Message 0."))
    conversation = first.conversation
    for number in range(1, 15):
        await store.begin_next()
        await store.finish(
            reply(id=f"m-{number - 1}", conversation=conversation, text=f"Answer {number - 1}."), None
        )
        text = "x" * 5000 if number == 13 else f"Message {number}."
        await store.add(task_request(id=f"m-{number}", conversation=conversation, text=text))
    await store.add(task_request(id="elsewhere", text="Of another thread."))
    told = await store.history("m-14")
    assert [(each.asked, each.answered) for each in told[:-1]] == [
        (f"Message {number}.", f"Answer {number}.") for number in range(2, 13)
    ]
    assert told[-1].asked == "x" * 2000 + " […]"
    assert await store.history("m-0") == []
    assert await store.history("nobody") == ()


async def test_what_no_agent_was_handed_is_told_apart(store: Store) -> None:
    """Back to the last message that one certainly was; a message that was merged counts as what it was merged into."""
    ran = Usage(duration_seconds=1, turns=3)
    (first,) = await store.add(task_request(id="seen", text="Seen."))
    conversation = first.conversation
    for name in ("along-1", "along-2"):
        await store.add(task_request(id=name, conversation=conversation))
    await store.begin_next()
    await store.finish(reply(id="seen", conversation=conversation, usage=ran), None)
    (alone,) = await store.add(task_request(id="last", text="Refused.", conversation=conversation))
    assert await store.history(alone.id, unseen=True) == []
    await store.begin_next()
    await store.finish(
        reply(id="last", conversation=conversation, outcome="refused", text="No policy."), None
    )
    await store.add(task_request(id="again", text="Again.", conversation=conversation))
    told = await store.history("again", unseen=True)
    assert [(each.asked, each.answered) for each in told] == [("Refused.", "No policy.")]

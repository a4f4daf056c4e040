import asyncio
import json
from contextlib import suppress

import pytest

import airut_orchestrator.relay as relay_module
from airut_common.bus import Bus, BusUnavailable, MessageTooLarge
from airut_common.bus.topology import REPLIES
from airut_common.contracts.v1 import Reply
from airut_common.testing.builders import email_route, reply, task_request
from airut_orchestrator.database.connection import URL_VARIABLE, database_url, open_database
from airut_orchestrator.database.store import Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.relay import ReplyRelay
from airut_orchestrator.replies import shortened
from airut_orchestrator.stopping import queue_full

from .conftest import recorded


def relay_of(bus, store) -> ReplyRelay:
    return ReplyRelay(
        bus,
        store,
        TaskEvents(bus),
        page=lambda task: f"https://airut.example/tasks/{task}",
        disk_full=lambda: None,
    )


async def finished(store: Store, name: str, **values) -> None:
    await store.add(task_request(id=name))
    await store.begin_next()
    await store.finish(reply(id=name, **values), None if values.get("outcome", "done") == "done" else "why")


async def on_the_bus(bus: Bus) -> list[Reply]:
    stream = bus.client.jetstream()
    state = (await stream.stream_info(REPLIES.name)).state
    return [
        Reply.decode((await stream.get_msg(REPLIES.name, number)).data)
        for number in range(state.first_seq, state.last_seq + 1)
    ]


async def test_replies_are_published_in_order_and_marked(bus: Bus, store: Store) -> None:
    await finished(store, "a")
    await finished(store, "b", outcome="refused", text="no")
    await relay_of(bus, store).publish_waiting()
    assert [item.id for item in await on_the_bus(bus)] == ["a", "b"]
    assert await store.unpublished() == []
    assert [await store.state(name) for name in ("a", "b")] == ["done", "failed"]
    events = [(event.task, event.state, event.outcome, event.reason) for event in await recorded(bus, 2)]
    assert events == [("a", "done", "done", None), ("b", "failed", "refused", "why")]


class DiesBeforeTheMark:
    """A store whose process dies between the publication and its mark."""

    def __init__(self, store: Store) -> None:
        self.unpublished = store.unpublished

    async def published(self, task: str, state: str) -> None:
        raise asyncio.CancelledError


async def test_a_death_between_publication_and_mark_gives_one_reply(bus: Bus, store: Store) -> None:
    await finished(store, "a")
    with pytest.raises(asyncio.CancelledError):
        await relay_of(bus, DiesBeforeTheMark(store)).publish_waiting()
    await relay_of(bus, store).publish_waiting()
    assert [item.id for item in await on_the_bus(bus)] == ["a"]
    assert await store.state("a") == "done"


async def test_a_relay_waits_for_a_bus_that_is_away(bus: Bus, store: Store, nats_server) -> None:
    await finished(store, "a")
    relay = relay_of(bus, store)
    await nats_server.stop()
    working = asyncio.create_task(relay.run())
    await asyncio.sleep(0)
    assert await store.state("a") == "replying"
    await nats_server.start()
    async with asyncio.timeout(30):
        while await store.unpublished():
            await asyncio.sleep(0.05)
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    assert [item.id for item in await on_the_bus(bus)] == ["a"]


async def test_an_answer_that_another_host_gave_is_published_where_the_conversation_lies(
    bus: Bus, postgres, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(relay_module, "POLL_SECONDS", 0.05)
    url = database_url({URL_VARIABLE: postgres.new_database().render_as_string()}, tmp_path)
    async with open_database(url) as shared:
        here, there = Store(shared, "here"), Store(shared, "there")
        (task,) = await here.add(task_request(id="a"))
        await here.begin_next()
        working = asyncio.create_task(relay_of(bus, here).run())
        await there.add(
            task_request(id="b", conversation=task.conversation),
            task_request(id="c", conversation=task.conversation),
            max_queue={"demo": 1},
            too_many=queue_full,
        )
        async with asyncio.timeout(10):
            while await here.state("c") != "failed":
                await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert [item.id for item in await on_the_bus(bus)] == ["c"]


class SmallBus:
    """An operator's own bus that takes little."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[Reply] = []

    async def publish(self, subject, message, *, msg_id=None, timeout_seconds=5.0) -> None:
        if len(message.encode()) > self.most:
            raise MessageTooLarge(subject)
        if isinstance(message, Reply):
            self.taken.append(message)

    async def flush_soon(self, seconds: float) -> bool:
        return True


async def test_a_reply_that_the_bus_never_takes_is_shortened_and_stops_nobody(store: Store) -> None:
    long = {
        "text": "x" * 100_000,
        "notes": ("n" * 50_000,),
        "route": email_route(references=tuple(f"<{n}@x>" for n in range(9999))),
    }
    await finished(store, "a", **long)
    await finished(store, "b")
    bus = SmallBus(20_000)
    await relay_of(bus, store).publish_waiting()
    assert [item.id for item in bus.taken] == ["a", "b"]
    assert "has been cut" in bus.taken[0].text
    assert bus.taken[0].route.in_reply_to == email_route().in_reply_to


async def test_a_shortened_reply_is_short() -> None:
    whole = reply(text="\x01" * 1_000_000, notes=("x" * 1_000_000,))
    assert len(json.dumps(shortened(whole).model_dump(mode="json"))) < 20_000


async def test_a_bus_that_stays_away_is_said(store: Store) -> None:
    class Away(SmallBus):
        async def publish(self, *args, **kwargs) -> None:
            raise BusUnavailable("away")

    await finished(store, "a")
    with pytest.raises(BusUnavailable):
        await relay_of(Away(0), store).publish_waiting()
    assert await store.state("a") == "replying"


async def test_a_merged_message_has_one_fate_though_its_author_is_answered_and_a_death_repeats_it(
    bus: Bus, store: Store
) -> None:
    (first,) = await store.add(task_request(id="a"))
    route = email_route(recipient="bob@x.example")
    await store.add(task_request(id="b", conversation=first.conversation, route=route))
    await store.add(task_request(id="c", conversation=first.conversation, route=route))
    task = await store.begin_next()
    TaskEvents(bus).merged(task)
    await store.finish(reply(id="a", conversation=first.conversation), None)
    with suppress(asyncio.CancelledError):
        await relay_of(bus, DiesBeforeTheMark(store)).publish_waiting()
    await relay_of(bus, store).publish_waiting()
    answers = await on_the_bus(bus)
    assert [(item.id, item.route.recipient, item.link) for item in answers] == [
        ("a", "ada@lovelace.example", "https://airut.example/tasks/a"),
        ("b", "bob@x.example", "https://airut.example/tasks/a"),
    ]
    assert await store.unpublished() == []
    await relay_of(bus, store).publish_waiting()
    end = task_request(id="end")
    (added,) = await store.add(end)
    TaskEvents(bus).entered(added, "queued")
    told = [(event.task, event.state, event.merged_into) for event in await recorded(bus, 4)]
    assert told == [("b", "merged", "a"), ("c", "merged", "a"), ("a", "done", None), ("end", "queued", None)]


async def test_a_merge_that_nobody_was_told_of_is_told_with_the_answer(bus: Bus, store: Store) -> None:
    (first,) = await store.add(task_request(id="a"))
    await store.add(task_request(id="b", conversation=first.conversation))
    await store.begin_next()
    await store.finish(reply(id="a", conversation=first.conversation), None)
    await relay_of(bus, store).publish_waiting()
    assert [(event.task, event.state) for event in await recorded(bus, 2)] == [("b", "merged"), ("a", "done")]


async def test_a_last_event_is_never_stored_before_an_earlier_one(bus: Bus, monkeypatch) -> None:
    """It would be the stream's last word on the task that it still replies."""

    async def slow(_seconds: float) -> bool:
        return False

    events = TaskEvents(bus)
    monkeypatch.setattr(bus, "flush_soon", slow)
    with pytest.raises(BusUnavailable, match="earlier events"):
        await events.finished(reply(id="one"), "done", None)

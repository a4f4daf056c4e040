import asyncio
from contextlib import suppress

import pytest
from sqlalchemy.exc import DataError, OperationalError

import airut_orchestrator.claim as claim_module
from airut_common.bus import Bus, Retry
from airut_common.bus.topology import ORCHESTRATOR_TASKS, REPLIES, TASKS
from airut_common.contracts.v1 import Acknowledgement, TaskRequest, subjects
from airut_common.testing.builders import reply, task_request
from airut_orchestrator.acknowledge import Acknowledger
from airut_orchestrator.claim import Claim
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents

from .conftest import recorded


async def no_wish(task: QueuedTask) -> None:
    pytest.fail(f"{task.id} asked for nothing to be stopped")


def never() -> None:
    pytest.fail("this was not to happen")


def make(bus: Bus, store: object, **more) -> Claim:
    values = {
        "claimed": lambda: None, "has_room": lambda: True, "wish": no_wish, "disk_full": never,
        "max_queue": dict, "replied": never,
    }  # fmt: skip
    wanted = more.pop("acknowledge", False)
    acknowledge = Acknowledger(
        bus, wanted=lambda: wanted, page=lambda task: f"https://airut.example/tasks/{task}"
    )
    return Claim(store, TaskEvents(bus), acknowledge, **(values | more))


async def acknowledged(bus: Bus) -> list[Acknowledgement]:
    """Every acknowledgement on the bus."""
    stream = bus.client.jetstream()
    state = (await stream.stream_info(REPLIES.name)).state
    return [
        Acknowledgement.decode((await stream.get_msg(REPLIES.name, number)).data)
        for number in range(1, state.last_seq + 1)
    ]


async def test_what_is_acknowledged_is_committed_and_told(bus: Bus, store: Store) -> None:
    claimed = asyncio.Event()
    claim = make(bus, store, claimed=claimed.set)
    request = task_request()
    await bus.publish(subjects.task_requested(request.repo), request, msg_id=request.id)
    consuming = asyncio.create_task(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, claim))
    async with asyncio.timeout(10):
        await claimed.wait()
        while await bus.stream_size(TASKS.name):
            await asyncio.sleep(0.02)
    consuming.cancel()
    with suppress(asyncio.CancelledError):
        await consuming
    assert (await store.begin_next()).request == request
    assert [(event.task, event.state) for event in await recorded(bus, 1)] == [(request.id, "queued")]


async def test_row_54_a_second_delivery_is_acknowledged_and_changes_nothing(bus: Bus, store: Store) -> None:
    claim = make(bus, store)
    request = task_request()
    await claim(request)
    await store.begin_next()
    await claim(request)
    assert await store.begin_next() is None


async def test_nothing_is_acknowledged_while_the_database_fails_and_what_came_first_stays_first(
    bus: Bus, store: Store, monkeypatch
) -> None:
    monkeypatch.setattr(claim_module, "RETRY_SECONDS", 0.02)

    class SometimesFull:
        tries = 0

        async def add(self, *requests: TaskRequest, **_limits: object) -> list[QueuedTask | None]:
            self.tries += 1
            if self.tries <= 3:
                raise OperationalError("INSERT", {}, Exception("database or disk is full"))
            return await store.add(*requests)

    made_room: list[bool] = []
    claim = make(bus, SometimesFull(), disk_full=lambda: made_room.append(True))
    requests = [task_request(id=f"t{number}") for number in range(20)]
    first = asyncio.create_task(claim(requests[0]))
    async with asyncio.timeout(10):
        while not made_room:
            await asyncio.sleep(0.001)
        assert not first.done()
        await asyncio.gather(first, *(claim(request) for request in requests[1:]))
    assert made_room == [True] * 3
    begun = [await store.begin_next() for _ in requests]
    assert [task.id for task in begun] == [request.id for request in requests]


async def test_a_request_that_cannot_be_written_stands_in_nobodys_way(bus: Bus, store: Store) -> None:
    class Picky:
        async def add(self, *requests: TaskRequest, **_limits: object) -> list[QueuedTask | None]:
            if any(request.id == "bad" for request in requests):
                raise DataError("INSERT", {}, Exception("no such character"))
            return await store.add(*requests)

    claim = make(bus, Picky())
    names = ["a", "b", "bad", "c", "d"]
    found = await asyncio.gather(*(claim(task_request(id=name)) for name in names), return_exceptions=True)
    assert [type(item) for item in found] == [type(None), type(None), Retry, type(None), type(None)]
    assert [(await store.begin_next()).id for _ in range(4)] == ["a", "b", "c", "d"]
    await claim(task_request(id="e"))


async def test_one_that_is_cancelled_while_it_waits_takes_nobody_along(bus: Bus, store: Store) -> None:
    go = asyncio.Event()

    class Slow:
        async def add(self, *requests: TaskRequest, **_limits: object) -> list[QueuedTask | None]:
            await go.wait()
            return await store.add(*requests)

    claim = make(bus, Slow())
    works = [asyncio.create_task(claim(task_request(id=name))) for name in "abc"]
    for _ in range(3):
        await asyncio.sleep(0)
    works[0].cancel()
    works[1].cancel()
    await asyncio.sleep(0)
    go.set()
    await works[2]
    assert (await store.begin_next()).id == "c"


async def test_a_message_too_many_is_answered_at_once_and_a_wish_to_stop_is_always_heard(
    bus: Bus, store: Store
) -> None:
    wishes: list[str] = []
    replied: list[bool] = []

    async def wish(task: QueuedTask) -> None:
        wishes.append(task.id)

    claim = make(bus, store, max_queue=lambda: {"demo": 2}, replied=lambda: replied.append(True), wish=wish)
    for number in range(4):
        await claim(task_request(id=f"t{number}"))
    await claim(task_request(id="other", repo="elsewhere"))
    (first,) = await store.waiting(task="t0")
    await claim(task_request(id="stop", conversation=first.conversation, text="Stop."))
    assert wishes == ["stop"]
    outgoing = await store.unpublished()
    assert [(each.reply.id, each.reply.outcome) for each in outgoing] == [
        ("t2", "refused"),
        ("t3", "refused"),
    ]
    assert "was not taken" in outgoing[0].reply.text
    assert replied == [True, True]
    await claim(task_request(id="t2"))
    assert len(await store.unpublished()) == 2, "a second delivery is answered no second time"
    begun = [task.id for _ in range(5) if (task := await store.begin_next()) is not None]
    assert begun == ["t0", "t1", "other"]


async def test_what_comes_together_counts_together(store: Store) -> None:
    """There is no moment in which one too many waits: who dies right after the commit has answered it."""
    found = await store.add(
        *(task_request(id=f"t{number}") for number in range(4)),
        max_queue={"demo": 2},
        too_many=lambda task: reply(id=task.id),
    )
    assert [task.turned_away for task in found if task is not None] == [False, False, True, True]
    assert [await store.state(f"t{number}") for number in range(4)] == ["queued"] * 2 + ["replying"] * 2


async def test_an_author_is_told_once_that_his_message_was_taken_and_what_it_waits_for(
    bus: Bus, store: Store
) -> None:
    claim = make(bus, store, acknowledge=True)
    first = task_request()
    await claim(first)
    await claim(first)
    conversation = (await store.begin_next()).conversation
    later = [task_request(conversation=conversation) for _ in range(2)]
    for request in later:
        await claim(request)
    elsewhere = task_request()
    await make(bus, store, acknowledge=True, has_room=lambda: False)(elsewhere)
    found = await acknowledged(bus)
    assert [(taken.id, taken.waits_for, taken.place) for taken in found] == [
        (first.id, None, 1),
        (later[0].id, "turn", 1),
        (later[1].id, "turn", 2),
        (elsewhere.id, "slot", 1),
    ]
    assert {taken.conversation for taken in found[:3]} == {conversation}
    assert (found[0].route, found[0].link) == (first.route, f"https://airut.example/tasks/{first.id}")


async def test_who_died_before_he_told_the_author_tells_him_when_the_message_comes_again(
    bus: Bus, store: Store
) -> None:
    waits, begun, answered, merged = (
        task_request(id=name) for name in ("waits", "begun", "answered", "merged")
    )
    await store.add(answered)
    conversation = (await store.begin_next()).conversation
    await store.finish(reply(id="answered", conversation=conversation), None)
    (task,) = await store.add(begun)
    await store.add(merged.model_copy(update={"conversation": task.conversation}))
    await store.begin_next()
    await store.add(waits)
    claim = make(bus, store, acknowledge=True)
    for request in (waits, begun, answered, merged, begun):
        await claim(request)
    assert [(taken.id, taken.conversation == task.conversation) for taken in await acknowledged(bus)] == [
        ("waits", False),
        ("begun", True),
        ("merged", True),
    ]


async def test_nobody_is_told_unless_the_operator_wants_it_nor_of_a_schedule_a_stop_or_what_was_not_taken(
    bus: Bus, store: Store
) -> None:
    async def not_heard(_task: QueuedTask) -> None:
        pass

    await make(bus, store)(task_request())
    claim = make(
        bus, store, acknowledge=True, wish=not_heard, replied=lambda: None, max_queue=lambda: {"demo": 3}
    )
    await claim(task_request(channel="schedule"))
    await claim(task_request(text="stop", conversation="c"))
    await claim(task_request())
    assert await acknowledged(bus) == []


async def test_a_message_is_not_acknowledged_to_the_bus_before_its_author_will_hear_of_it(
    nats_server, bus: Bus, store: Store
) -> None:
    claim = make(bus, store, acknowledge=True)
    request = task_request()
    await nats_server.kill()
    with pytest.raises(Retry, match="bus"):
        await claim(request)
    await nats_server.start()
    await claim(request)
    assert [taken.id for taken in await acknowledged(bus)] == [request.id]

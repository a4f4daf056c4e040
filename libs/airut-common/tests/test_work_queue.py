"""How a work queue treats its messages when things take long, fail, or end in the middle."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest

from airut_common.bus import Bus, BusUnavailable, Reject, Retry, open_bus
from airut_common.bus import deliver as deliver_module
from airut_common.bus.deliver import Delivery, WorkQueue
from airut_common.bus.pull import pull
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.contracts.v1 import DeadLetter, TaskRequest, subjects
from airut_common.testing.builders import task_request

LIMIT = 30
Handler = Callable[[TaskRequest], Awaitable[None]]


async def send(bus: Bus, *requests: TaskRequest) -> None:
    for request in requests:
        await bus.publish(subjects.task_requested(request.repo), request, msg_id=request.id)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT):
        while not await condition():
            await asyncio.sleep(0.02)


async def until_empty(bus: Bus) -> None:
    async def empty() -> bool:
        return await bus.stream_size("AIRUT_TASKS") == 0

    await until(empty)


async def dead_letters(bus: Bus) -> list[DeadLetter]:
    count = await bus.stream_size("AIRUT_DEAD")
    return [DeadLetter.decode((await bus._js.get_msg("AIRUT_DEAD", n + 1)).data or b"") for n in range(count)]


class Consuming:
    """A consumer that runs beside the test."""

    def __init__(
        self,
        bus: Bus,
        handler: Handler,
        *,
        concurrency: int = 1,
        consumer=ORCHESTRATOR_TASKS,
        in_order: bool = False,
    ) -> None:
        self.bus, self.handler, self.consumer = bus, handler, consumer
        self.how = {"concurrency": concurrency, "in_order": in_order}

    async def __aenter__(self) -> None:
        work = self.bus.consume(self.consumer, TaskRequest, self.handler, **self.how)
        self.task = asyncio.create_task(work)

    async def __aexit__(self, *error: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_as_many_run_at_once_as_were_asked_for_and_no_more(bus: Bus) -> None:
    running, most, release = 0, 0, asyncio.Event()

    async def handler(_: TaskRequest) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            release.set()
        await asyncio.wait_for(release.wait(), LIMIT)
        running -= 1

    await send(bus, *(task_request() for _ in range(8)))
    async with Consuming(bus, handler, concurrency=3):
        await until_empty(bus)
    assert most == 3


async def test_what_waits_for_its_retry_is_in_nobodys_way_and_uses_up_no_delivery(bus: Bus) -> None:
    """The design's table: with the database away, requests stay in the stream, however often they are tried."""
    stubborn, tries, others = task_request(), 0, []

    async def handler(request: TaskRequest) -> None:
        nonlocal tries
        if request.id != stubborn.id:
            others.append(request.id)
            return
        tries += 1
        if tries <= 3 * ORCHESTRATOR_TASKS.max_deliveries:
            raise Retry("the database is away", after=timedelta(milliseconds=5))

    await send(bus, stubborn)
    async with Consuming(bus, handler):
        later = [task_request() for _ in range(3)]
        await send(bus, *later)
        await until_empty(bus)
    assert others == [request.id for request in later]
    assert tries == 3 * ORCHESTRATOR_TASKS.max_deliveries + 1
    assert await dead_letters(bus) == []


async def test_a_retry_ends_with_the_message_s_age(bus: Bus) -> None:
    async def handler(_: TaskRequest) -> None:
        raise Retry("the relay says no", after=timedelta(milliseconds=50))

    await send(bus, task_request())
    hasty = replace(ORCHESTRATOR_TASKS, give_up_after=timedelta(seconds=0.3))
    async with Consuming(bus, handler, consumer=hasty):
        await until_empty(bus)
    [letter] = await dead_letters(bus)
    assert "given up after" in letter.reason
    assert "the relay says no" in letter.reason


@pytest.mark.integration
async def test_long_work_is_not_delivered_a_second_time(nats_server: NatsServer, bus: Bus) -> None:
    brief = replace(ORCHESTRATOR_TASKS, ack_wait=timedelta(seconds=0.6))
    await bus._js.add_consumer(brief.stream, brief.config())
    calls, release = 0, asyncio.Event()

    async def handler(_: TaskRequest) -> None:
        nonlocal calls
        calls += 1
        await asyncio.wait_for(release.wait(), LIMIT)

    async with Consuming(bus, handler, concurrency=4, consumer=brief):
        await send(bus, task_request())
        asyncio.get_running_loop().call_later(2, release.set)  # three times ack_wait
        await until_empty(bus)
    assert calls == 1


@pytest.mark.integration
async def test_work_goes_on_through_a_restart_of_the_server_and_is_done_once(
    nats_server: NatsServer, bus: Bus
) -> None:
    brief = replace(ORCHESTRATOR_TASKS, ack_wait=timedelta(seconds=0.6))
    await bus._js.add_consumer(brief.stream, brief.config())
    calls: list[str] = []
    begun, release = asyncio.Event(), asyncio.Event()

    async def handler(request: TaskRequest) -> None:
        calls.append(request.id)
        begun.set()
        await asyncio.wait_for(release.wait(), LIMIT)

    first, second = task_request(), task_request()
    async with Consuming(bus, handler, concurrency=2, consumer=brief):
        await send(bus, first)
        await asyncio.wait_for(begun.wait(), LIMIT)
        await nats_server.kill()
        await nats_server.start()
        await bus.publish("airut.v1.task.requested.demo", second, msg_id=second.id, timeout_seconds=LIMIT)

        async def both() -> bool:
            return second.id in calls

        await until(both)
        release.set()
        await until_empty(bus)
    assert sorted(calls) == sorted([first.id, second.id])


async def test_what_is_in_hand_at_the_stop_is_given_back_at_once(nats_server: NatsServer, bus: Bus) -> None:
    """ack_wait is 30 s: without being given back the message would come after the test's end."""
    begun, taken = asyncio.Event(), asyncio.Event()

    async def never(_: TaskRequest) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def take(_: TaskRequest) -> None:
        taken.set()

    await send(bus, task_request())
    async with Consuming(bus, never):
        await asyncio.wait_for(begun.wait(), LIMIT)
    async with open_bus(nats_server.url, name="other", nkey_seed_file=None) as other, Consuming(other, take):
        await asyncio.wait_for(taken.wait(), 10)


async def test_a_crash_between_dead_letter_and_end_neither_loses_nor_doubles(bus: Bus, monkeypatch) -> None:
    monkeypatch.setattr(deliver_module, "AFTER_A_BUG_SECONDS", 0.05)
    stored = 0

    async def store(subject: str, body: bytes, msg_id: str, seconds: float) -> None:
        nonlocal stored
        await bus._store(subject, body, {"Nats-Msg-Id": msg_id}, seconds)
        stored += 1
        if stored < 3:
            raise BusUnavailable("stored, but the acknowledgement is lost, as in a crash")

    async def refuse(_: TaskRequest) -> None:
        raise Reject("never")

    await send(bus, task_request())
    queue = WorkQueue(Delivery(ORCHESTRATOR_TASKS, TaskRequest, refuse, store), 1)
    task = asyncio.create_task(queue.run(bus.client))
    await until_empty(bus)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stored == 3
    assert [letter.reason for letter in await dead_letters(bus)] == ["never"]


async def test_a_message_that_kills_its_process_is_given_up(bus: Bus) -> None:
    """No exception is ever seen: only the server's count tells that nobody came back with an answer."""
    deadly, begun = task_request(), asyncio.Event()

    async def die(_: TaskRequest) -> None:
        begun.set()
        await asyncio.Event().wait()

    await send(bus, deadly)
    twice = replace(ORCHESTRATOR_TASKS, max_deliveries=2)
    for _ in range(2):
        async with Consuming(bus, die, consumer=twice):
            await asyncio.wait_for(begun.wait(), LIMIT)
            begun.clear()
    async with Consuming(bus, die, consumer=twice):
        await until_empty(bus)
    [letter] = await dead_letters(bus)
    assert letter.reason == "given up after 2 deliveries"
    assert TaskRequest.model_validate_json(letter.payload) == deadly


async def test_the_server_s_own_word_on_a_refused_message_is_kept(bus: Bus) -> None:
    async def refuse(_: TaskRequest) -> None:
        raise Reject("never")

    async def advised() -> bool:
        return await bus.stream_size("AIRUT_ADVISORIES") == 1

    await send(bus, task_request())
    async with Consuming(bus, refuse):
        await until(advised)


async def given_to_somebody_who_died(bus: Bus, count: int) -> None:
    """So many messages are delivered, and nothing more is heard of who took them."""
    async with aclosing(
        pull(bus.client, ORCHESTRATOR_TASKS.stream, ORCHESTRATOR_TASKS.name, batch=count)
    ) as taken:
        for _ in range(count):
            await anext(taken)


@pytest.mark.parametrize("in_order", [True, False])
async def test_what_a_dead_reader_was_given_comes_before_what_is_behind_it(bus: Bus, in_order: bool) -> None:
    """The server gives it away again after `ack_wait` only, and what is behind it at once."""
    requests = [task_request() for _ in range(5)]
    handled: list[str] = []

    async def handler(request: TaskRequest) -> None:
        handled.append(request.id)

    await send(bus, *requests[:3])
    await given_to_somebody_who_died(bus, 3)
    await send(bus, *requests[3:])

    async def last_was_handled() -> bool:
        return requests[-1].id in handled

    async with Consuming(bus, handler, in_order=in_order):
        await until(last_was_handled)
    assert handled == [request.id for request in (requests if in_order else requests[3:])]
    assert await bus.stream_size("AIRUT_TASKS") == 3, "their own deliveries will settle them"


async def test_an_earlier_message_that_cannot_be_read_or_is_refused_holds_nobody_up(bus: Bus) -> None:
    refused, last = task_request(), task_request()
    handled: list[str] = []

    async def handler(request: TaskRequest) -> None:
        handled.append(request.id)
        if request.id == refused.id:
            raise Reject("never")

    await bus.client.publish(subjects.task_requested("demo"), b"no request at all")
    await send(bus, refused)
    await given_to_somebody_who_died(bus, 2)
    await send(bus, last)

    async def last_was_handled() -> bool:
        return last.id in handled

    async with Consuming(bus, handler, in_order=True):
        await until(last_was_handled)
    assert handled == [refused.id, last.id]


async def test_order_is_kept_through_the_bus_being_away(bus: Bus, nats_server: NatsServer) -> None:
    requests = [task_request() for _ in range(3)]
    handled: list[str] = []

    async def handler(request: TaskRequest) -> None:
        handled.append(request.id)

    await send(bus, *requests[:2])
    await given_to_somebody_who_died(bus, 2)
    async with Consuming(bus, handler, in_order=True):
        await nats_server.kill()
        await nats_server.start()
        await send(bus, requests[2])
        await until(lambda: _is(len(handled) >= 3))
    assert list(dict.fromkeys(handled)) == [request.id for request in requests]


async def _is(value: bool) -> bool:
    return value

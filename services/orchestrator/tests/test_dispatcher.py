import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

import airut_orchestrator.dispatcher as dispatcher_module
from airut_common.bus import Bus
from airut_common.config.models import ServerConfig
from airut_common.contracts.v1 import TaskRequest
from airut_common.testing.builders import reply, task_request
from airut_orchestrator.acknowledge import Acknowledger
from airut_orchestrator.claim import Claim
from airut_orchestrator.database.connection import Database
from airut_orchestrator.database.hosts import TakenOver
from airut_orchestrator.database.schema import Host
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.dispatcher import MAX_ATTEMPTS, Dispatcher
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.runner import Finished, Settings
from airut_orchestrator.wishes import asks_to_stop
from airut_orchestrator.work import Work

from .conftest import recorded

SETTINGS = Settings(ServerConfig(), None)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class FakeRunner:
    """Runs tasks until the test lets them end; notes who ran beside whom."""

    begun: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    most: int = 0
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    ended_early: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def run(self, task: QueuedTask, settings: Settings, work: Work) -> Finished:
        self.begun.append(task.id)
        self.running.add(task.id)
        self.most = max(self.most, len(self.running))
        self.changed.set()
        if task.id in self.ended_early:
            work.agent_ended()
        try:
            await self.gate(task.id).wait()
        except asyncio.CancelledError:
            self.cancelled.append(task.id)
            self.changed.set()
            if work.stopped_by is None:
                raise
            asyncio.current_task().uncancel()
            stopped = reply(id=task.id, conversation=task.conversation, outcome="stopped")
            return Finished(stopped, f"stopped by {work.stopped_by}", None, begun=True)
        finally:
            self.running.discard(task.id)
        return Finished(reply(id=task.id, conversation=task.conversation), None, None, begun=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Bench:
    store: Store
    bus: Bus
    events: TaskEvents
    runner: FakeRunner
    dispatcher: Dispatcher
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    replied: list[bool] = field(default_factory=list)
    made_room: list[bool] = field(default_factory=list)
    lost: list[TakenOver] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    most_of: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        work = asyncio.create_task(self.dispatcher.run(self.stopping))
        try:
            yield
        finally:
            self.stopping.set()
            async with asyncio.timeout(30):
                await work

    async def ask(self, name: str, conversation: str | None = None) -> str:
        (task,) = await self.store.add(task_request(id=name, conversation=conversation))
        self.dispatcher.wake()
        return task.conversation

    async def until_state(self, name: str, state: str) -> None:
        async with asyncio.timeout(10):
            while await self.store.state(name) != state:
                await asyncio.sleep(0.01)


def make_bench(store: Store, bus: Bus, *, most: int = 2) -> Bench:
    runner, events = FakeRunner(), TaskEvents(bus)

    async def host_lost(found: TakenOver) -> None:
        bench.lost.append(found)

    async def ask_host(host: str, task: str, by: str) -> bool:
        bench.asked.append((host, task, by))
        return True

    dispatcher = Dispatcher(
        store=store,
        runner=runner,
        events=events,
        settings=lambda repo: SETTINGS,
        max_concurrent=lambda: most,
        max_concurrent_of=lambda: bench.most_of,
        replied=lambda: bench.replied.append(True),
        host_lost=host_lost,
        ask_host=ask_host,
        disk_full=lambda: bench.made_room.append(True),
    )
    bench = Bench(store, bus, events, runner, dispatcher)
    return bench


@pytest.fixture
def bench(store: Store, bus: Bus, monkeypatch) -> Bench:
    monkeypatch.setattr(dispatcher_module, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher_module, "RETRY_SECONDS", 0.02)
    return make_bench(store, bus)


async def test_conversations_run_side_by_side_up_to_the_limit(bench: Bench) -> None:
    async with bench.running():
        for name in "abc":
            await bench.ask(name)
        await bench.runner.until(lambda: len(bench.runner.running) == 2)
        assert bench.runner.begun == ["a", "b"]
        bench.runner.gate("b").set()
        await bench.runner.until(lambda: "c" in bench.runner.begun)
        for name in "ac":
            bench.runner.gate(name).set()
            await bench.until_state(name, "replying")
    assert bench.runner.most == 2
    assert len(bench.replied) == 3


async def test_what_waits_in_a_conversation_is_one_run_after_the_one_before(bench: Bench) -> None:
    async with bench.running():
        conversation = await bench.ask("a")
        await bench.runner.until(lambda: "a" in bench.runner.running)
        for name in "bcd":
            await bench.ask(name, conversation)
        for name in "ab":
            await bench.runner.until(lambda name=name: name in bench.runner.begun)
            assert bench.runner.running == {name}
            bench.runner.gate(name).set()
            await bench.until_state(name, "replying")
    assert bench.runner.begun == list("ab")
    assert [await bench.store.state(name) for name in "cd"] == ["merged", "merged"]
    assert [found.reply.id for found in await bench.store.unpublished()] == ["a", "b"]


async def test_a_message_is_told_to_wait_before_it_is_told_to_be_merged(bench: Bench, monkeypatch) -> None:
    """The dispatcher may look into the queue between the commit of a message and the moment its claim goes on."""
    committed, begun = asyncio.Event(), asyncio.Event()
    add, begin_next = bench.store.add, bench.store.begin_next

    async def answers_late(*requests: TaskRequest, **limits: Any) -> list[QueuedTask | None]:
        added = await add(*requests, **limits)
        committed.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(begun.wait(), 0.3)
        return added

    async def begins(*arguments: Any) -> QueuedTask | None:
        task = await begin_next(*arguments)
        begun.set()
        return task

    conversation = await bench.ask("a")
    monkeypatch.setattr(bench.store, "add", answers_late)
    monkeypatch.setattr(bench.store, "begin_next", begins)
    claim = Claim(
        bench.store,
        bench.events,
        Acknowledger(bench.bus, wanted=lambda: False, page=str),
        claimed=bench.dispatcher.wake,
        has_room=bench.dispatcher.has_room,
        wish=bench.dispatcher.take_wish,
        disk_full=lambda: None,
        max_queue=dict,
        replied=lambda: None,
    )
    claiming = asyncio.create_task(claim(task_request(id="b", conversation=conversation)))
    await committed.wait()
    async with bench.running():
        await claiming
        await bench.until_state("b", "merged")
        events = await recorded(bench.bus, 2)
        bench.runner.gate("a").set()
        await bench.until_state("a", "replying")
    assert [(event.task, event.state) for event in events] == [("b", "queued"), ("b", "merged")]


async def test_to_stop_a_message_that_was_merged_is_to_stop_the_run(bench: Bench) -> None:
    conversation = await bench.ask("a")
    await bench.ask("b", conversation)
    async with bench.running():
        await bench.runner.until(lambda: "a" in bench.runner.running)
        assert await bench.dispatcher.stop_task("b", "ada")
        await bench.until_state("a", "replying")
    assert (await answers(bench))["a"][0] == "stopped"
    assert await bench.store.state("b") == "merged"


async def test_row_63_a_stop_hands_back_what_runs_and_brings_home_what_is_done(bench: Bench) -> None:
    bench.runner.ended_early.add("done")
    async with bench.running():
        await bench.ask("works")
        await bench.ask("done")
        await bench.runner.until(lambda: len(bench.runner.running) == 2)
        await bench.ask("waits")
        bench.stopping.set()
        await bench.until_state("works", "queued")
        assert "done" in bench.runner.running, "it only has to be brought home"
        bench.runner.gate("done").set()
    assert bench.runner.cancelled == ["works"]
    states = [await bench.store.state(name) for name in ("works", "done", "waits")]
    assert states == ["queued", "replying", "queued"]
    again = await bench.store.begin_next()
    assert (again.id, again.attempts) == ("works", 1)


async def test_a_task_that_ends_during_the_grace_period_is_finished(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr(dispatcher_module, "GRACE_SECONDS", 5.0)
    async with bench.running():
        await bench.ask("a")
        await bench.runner.until(lambda: bool(bench.runner.running))
        bench.stopping.set()
        bench.runner.gate("a").set()
    assert await bench.store.state("a") == "replying"
    assert bench.runner.cancelled == []


async def test_an_interrupted_task_is_tried_again_and_given_up_in_the_end(bench: Bench) -> None:
    await bench.ask("a")
    for attempt in range(1, MAX_ATTEMPTS):
        task = await bench.store.begin_next()
        assert task.attempts == attempt
        await bench.dispatcher.recover()
        assert await bench.store.state("a") == "queued"
    await bench.store.begin_next()
    await bench.dispatcher.recover()
    (outgoing,) = await bench.store.unpublished()
    assert outgoing.reply.outcome == "interrupted"
    assert "3 times" in outgoing.reply.text
    assert await bench.store.begin_next() is None


async def test_what_was_finished_before_the_death_is_not_run_again(bench: Bench) -> None:
    conversation = await bench.ask("a")
    await bench.store.begin_next()
    await bench.store.finish(reply(id="a", conversation=conversation), None)
    await bench.dispatcher.recover()
    assert await bench.store.state("a") == "replying"
    assert await bench.store.begin_next() is None


class FailingStore:
    """A database that is locked a few times."""

    def __init__(self, store: Store, method: str, failures: int, error: str = "database is locked") -> None:
        self._store, self._method, self.left, self._error = store, method, failures, error

    def __getattr__(self, name: str):
        found: Callable[..., Awaitable[object]] = getattr(self._store, name)
        if name != self._method:
            return found

        async def sometimes(*args, **options):
            if self.left:
                self.left -= 1
                raise OperationalError("UPDATE", {}, Exception(self._error))
            return await found(*args, **options)

        return sometimes


@pytest.mark.parametrize("method", ["begin_next", "finish"])
async def test_a_database_that_fails_for_a_while_costs_no_task_and_no_answer(
    store: Store, bus: Bus, method: str, monkeypatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "RETRY_SECONDS", 0.02)
    bench = make_bench(FailingStore(store, method, 3), bus)  # type: ignore[arg-type]
    bench.runner.gate("a").set()
    async with bench.running():
        await bench.ask("a")
        await bench.until_state("a", "replying")
    assert bench.runner.begun == ["a"]


async def test_room_is_made_for_a_result_on_a_full_disk(store: Store, bus: Bus, monkeypatch) -> None:
    monkeypatch.setattr(dispatcher_module, "RETRY_SECONDS", 0.02)
    bench = make_bench(FailingStore(store, "finish", 2, "database or disk is full"), bus)  # type: ignore[arg-type]
    bench.runner.gate("a").set()
    async with bench.running():
        await bench.ask("a")
        await bench.until_state("a", "replying")
    assert bench.made_room == [True, True]


async def test_a_conversation_is_free_again_when_its_task_was_lost(bench: Bench, monkeypatch) -> None:
    """A task under way whose lease nobody renews is taken up while the orchestrator runs."""
    await bench.ask("a")
    await bench.store.begin_next()
    await bench.store.release_all()
    bench.runner.gate("a").set()
    monkeypatch.setattr(dispatcher_module, "RENEW_SECONDS", 0.02)
    keeping = asyncio.create_task(bench.dispatcher.keep_leases())
    async with bench.running():
        await bench.until_state("a", "replying")
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert bench.runner.begun == ["a"]


@pytest.mark.parametrize("by", ["ada", None])
async def test_a_task_that_ends_in_the_moment_it_begins_gives_its_place_back(
    bench: Bench, monkeypatch, by: str | None
) -> None:
    """A person stops it, or another host has it, before its first step."""
    begin_next, dispatcher = Store.begin_next, bench.dispatcher
    ends: list[bool] = []

    def end(task: str) -> None:
        if by is not None:
            ends.append(dispatcher.stop_running(task, by))
        else:
            dispatcher._let_everything_go()
            ends.append(True)

    async def begin(store: Store, *arguments: Any) -> QueuedTask | None:
        task = await begin_next(store, *arguments)
        if task is not None and not ends:
            asyncio.get_running_loop().call_soon(end, task.id)
        return task

    monkeypatch.setattr(Store, "begin_next", begin)
    await bench.ask("a")
    async with bench.running():
        if by is None:
            await bench.runner.until(lambda: bench.runner.begun == ["a", "a"])
            bench.runner.gate("a").set()
        await bench.until_state("a", "replying")
    assert ends == [True]
    assert (await answers(bench))["a"][0] == ("stopped" if by else "done")


async def test_what_is_let_go_cleans_up_without_being_disturbed(bench: Bench, monkeypatch) -> None:
    cleaned: list[str] = []

    async def run(task: QueuedTask, *_: object) -> Finished:
        bench.runner.running.add(task.id)
        bench.runner.changed.set()
        try:
            await asyncio.Event().wait()
        finally:
            await bench.runner.gate(task.id).wait()
            cleaned.append(task.id)
            bench.runner.running.discard(task.id)
        raise AssertionError("it was not let go")

    monkeypatch.setattr(bench.runner, "run", run)
    await bench.ask("a")
    async with bench.running():
        await bench.runner.until(lambda: bench.runner.running == {"a"})
        for _ in range(3):
            bench.dispatcher._let_everything_go()
            await asyncio.sleep(0)
        bench.stopping.set()
        bench.runner.gate("a").set()
        await bench.until_state("a", "queued")
    assert cleaned == ["a"]


# -- a person stops ----------------------------------------------------------------------------------------


async def answers(bench: Bench) -> dict[str, tuple[str, str]]:
    return {
        found.reply.id: (found.reply.outcome, found.reply.text) for found in await bench.store.unpublished()
    }


async def test_a_running_task_is_stopped_once_and_the_next_one_begins(bench: Bench) -> None:
    async with bench.running():
        conversation = await bench.ask("a")
        await bench.runner.until(lambda: "a" in bench.runner.running)
        await bench.ask("b", conversation)
        assert await bench.dispatcher.stop_task("a", "ada")
        assert not await bench.dispatcher.stop_task("a", "ada")
        await bench.until_state("a", "replying")
        await bench.runner.until(lambda: "b" in bench.runner.running)
        bench.runner.gate("b").set()
        await bench.until_state("b", "replying")
    assert bench.runner.begun == ["a", "b"]
    assert (await answers(bench))["a"][0] == "stopped"
    assert not await bench.dispatcher.stop_task("a", "ada")
    assert not await bench.dispatcher.stop_task("nobody", "ada")


async def test_a_waiting_task_is_stopped_and_never_begins(bench: Bench) -> None:
    async with bench.running():
        conversation = await bench.ask("a")
        await bench.runner.until(lambda: "a" in bench.runner.running)
        await bench.ask("b", conversation)
        assert await bench.dispatcher.stop_task("b", "ada")
        bench.runner.gate("a").set()
        await bench.until_state("a", "replying")
    assert bench.runner.begun == ["a"]
    outcome, text = (await answers(bench))["b"]
    assert outcome == "stopped"
    assert "Stopped by ada before it began" in text


async def test_what_is_nearly_done_is_not_stopped(bench: Bench) -> None:
    bench.runner.ended_early.add("a")
    async with bench.running():
        await bench.ask("a")
        await bench.runner.until(lambda: "a" in bench.runner.running)
        assert not await bench.dispatcher.stop_task("a", "ada")
        bench.runner.gate("a").set()
        await bench.until_state("a", "replying")
    assert (await answers(bench))["a"][0] == "done"


async def test_a_message_that_says_stop_ends_its_conversation_and_no_other(bench: Bench) -> None:
    async with bench.running():
        conversation = await bench.ask("a")
        await bench.ask("other")
        await bench.runner.until(lambda: bench.runner.running == {"a", "other"})
        await bench.ask("b", conversation)
        (wish,) = await bench.store.add(task_request(id="wish", conversation=conversation, text="Stop."))
        await bench.dispatcher.take_wish(wish)
        await bench.dispatcher.take_wish(wish)
        bench.dispatcher.wake()
        await bench.until_state("wish", "replying")
        assert bench.runner.running == {"other"}
        bench.runner.gate("other").set()
        await bench.until_state("other", "replying")
    found = await answers(bench)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "a": "stopped", "b": "stopped", "wish": "done", "other": "done",
    }  # fmt: skip
    assert "Stopped 2 tasks" in found["wish"][1]
    assert bench.runner.begun == ["a", "other"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stop", True),
        ("  STOP!\n\n-- \nAda", True),
        ("Stop.\n\n[The quoted earlier reply was left out here.]", True),
        ("stop\n\n> what was said", True),
        ("please stop", False),
        ("stop the server when you are done", False),
        ("", False),
        ("> stop", False),
    ],
)
def test_which_messages_ask_to_stop(text: str, expected: bool) -> None:
    assert asks_to_stop(task_request(text=text, conversation="c" * 32)) is expected
    assert not asks_to_stop(task_request(text=text, conversation=None))


# -- several hosts -----------------------------------------------------------------------------------------


async def test_a_task_of_another_host_is_stopped_there(bench: Bench) -> None:
    elsewhere = Store(bench.store.database, "elsewhere")
    conversation = await bench.ask("a")
    await elsewhere.begin_next()
    assert await bench.dispatcher.stop_task("a", "ada")
    (wish,) = await bench.store.add(task_request(id="wish", conversation=conversation, text="Stop."))
    await bench.dispatcher.take_wish(wish)
    assert bench.asked == [("elsewhere", "a", "ada"), ("elsewhere", "a", wish.request.sender)]
    await elsewhere.finish(reply(id="a", conversation=conversation), None)
    assert await bench.store.begin_next() is None, "the wish is answered where its conversation lies"
    assert (await elsewhere.begin_next()).stopped == 1


async def test_a_host_that_was_away_lets_go_of_what_another_one_took(bench: Bench) -> None:
    other = make_bench(Store(bench.store.database, "other"), bench.bus)
    await other.store.be_seen()
    async with bench.running():
        await bench.ask("a")
        await bench.ask("b")
        await bench.runner.until(lambda: bench.runner.running == {"a", "b"})
        bench.runner.gate("b").set()
        await bench.until_state("b", "replying")
        await bench.dispatcher.renew_leases()
        assert bench.runner.running == {"a"}, "while it is seen, its own stay its own"
        await bench.store.database.transact(
            lambda session: session.execute(update(Host).values(seen_at=LONG_AGO))
        )
        await other.dispatcher.renew_leases()
        assert [(lost.host, lost.conversations, lost.tasks) for lost in other.lost] == [("local", 2, 1)]
        async with other.running():
            await other.runner.until(lambda: other.runner.running == {"a"})
            await bench.dispatcher.renew_leases()
            await bench.runner.until(lambda: bench.runner.cancelled == ["a"])
            assert await other.store.state("a") == "preparing", "what lost it does not put it back"
            other.runner.gate("a").set()
            await other.until_state("a", "replying")
    assert bench.runner.begun == ["a", "b"]
    assert other.runner.begun == ["a"]


async def test_what_another_host_took_in_is_begun_without_a_word(store: Store, bus: Bus, monkeypatch) -> None:
    monkeypatch.setattr(dispatcher_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(Database, "is_shared", True)
    bench = make_bench(store, bus)
    async with bench.running():
        await asyncio.sleep(0.05)
        await Store(store.database, "elsewhere").add(task_request(id="a"))
        await bench.runner.until(lambda: bench.runner.running == {"a"})
        bench.runner.gate("a").set()


@pytest.mark.parametrize("shared", [True, False])
async def test_who_cannot_say_that_it_lives_ends_its_tasks_before_others_take_them(
    bench: Bench, monkeypatch, shared: bool
) -> None:
    """On one host alone nobody else could begin them: there they go on."""
    monkeypatch.setattr(Database, "is_shared", shared)
    monkeypatch.setattr(dispatcher_module, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(dispatcher_module, "LEASE", timedelta(seconds=0.2))
    rounds = 0

    async def away(*_: object) -> None:
        nonlocal rounds
        rounds += 1
        raise OperationalError("", None, Exception("the server does not answer"))

    async with bench.running():
        await bench.ask("a")
        await bench.runner.until(lambda: bench.runner.running == {"a"})
        monkeypatch.setattr(Store, "be_seen", away)
        keeping = asyncio.create_task(bench.dispatcher.keep_leases())
        if shared:
            await bench.runner.until(lambda: bench.runner.cancelled == ["a"])
        else:
            async with asyncio.timeout(10):
                while rounds < 20:
                    await asyncio.sleep(0.02)
            assert bench.runner.running == {"a"}
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        bench.runner.gate("a").set()


async def test_a_repository_runs_no_more_than_it_may_and_others_go_on(bench: Bench) -> None:
    bench.most_of["demo"] = 1
    for name in ("a", "b"):
        await bench.ask(name)
    await bench.store.add(task_request(id="c", repo="elsewhere"))
    async with bench.running():
        await bench.runner.until(lambda: bench.runner.running == {"a", "c"})
        bench.runner.gate("a").set()
        await bench.runner.until(lambda: bench.runner.running == {"b", "c"})
        bench.most_of.clear()
        for name in ("b", "c"):
            bench.runner.gate(name).set()

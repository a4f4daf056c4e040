"""Requests that last are told while they do; short ones are not."""

import asyncio
import contextlib
import time

import pytest

from airut_egress.starts import LASTS_SECONDS, Starts
from airut_egress.testing.clients import request
from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World, bearer_credential


class Request:
    """One that counts as begun some time ago."""

    def __init__(self, age: float = 0.0, *, broken: bool = False) -> None:
        self.started = time.monotonic() - age
        self.told = asyncio.Event()
        self.abandoned = asyncio.Event()
        self._broken = broken

    def tell_start(self) -> None:
        if self._broken:
            raise OSError("no place for it")
        self.told.set()

    def abandon(self) -> None:
        self.abandoned.set()


async def test_a_slow_request_is_told_before_its_end(world: World, origin: Origin) -> None:
    finish = asyncio.Event()

    async def slowly(_seen) -> Answer:
        await finish.wait()
        return Answer(body=b"at last")

    origin.respond = slowly
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    headers = f"Authorization: Bearer {sandbox.environment['API_KEY']}\r\n"
    began = time.monotonic()
    under_way = asyncio.ensure_future(request(sandbox, target="/slow?key=secret", headers=headers))
    start = await world.recorder.wait_start()
    assert time.monotonic() - began >= LASTS_SECONDS
    assert world.recorder.of("request") == []
    assert sandbox.session.totals.requests == 0
    finish.set()
    assert (await under_way).body == b"at last"
    end = await world.recorder.wait(lambda e: e.kind == "request")
    assert (start.decision, start.reason, start.status) == ("info", "started", None)
    assert (start.bytes_in, start.bytes_out) == (0, 0)
    assert (end.decision, end.status) == ("allow", 200)
    identity = {
        "request",
        "kind",
        "sandbox",
        "task",
        "repo",
        "method",
        "scheme",
        "host",
        "port",
        "path",
        "credentials",
    }
    assert start.model_dump(include=identity) == end.model_dump(include=identity)
    assert (start.request, start.path, start.credentials) == (0, "/slow", ("API_KEY",))
    assert start.seq < end.seq
    assert start.duration_ms is not None
    assert end.duration_ms is not None
    assert LASTS_SECONDS * 1000 <= start.duration_ms <= end.duration_ms
    assert sandbox.session.totals.requests == 1


async def test_short_requests_have_one_event_each_and_a_number(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    for _ in range(3):
        await request(sandbox)
    await world.recorder.wait(lambda e: e.request == 2)
    assert [event.request for event in world.recorder.of("request")] == [0, 1, 2]
    assert sandbox.session.starts._untold == {}


async def test_only_those_that_last_are_told_and_each_once() -> None:
    starts = Starts()
    old, ended, young = Request(LASTS_SECONDS), Request(LASTS_SECONDS), Request()
    numbers = [starts.begin(each) for each in (old, ended, young)]
    assert numbers == [0, 1, 2]
    starts.end(1)
    async with asyncio.timeout(5):
        await old.told.wait()
    assert not ended.told.is_set()
    assert not young.told.is_set()
    starts.end(2)
    starts.end(0)
    assert starts._untold == {}


async def test_one_timer_serves_all_and_none_runs_when_nothing_is_open(monkeypatch) -> None:
    armed = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda *call: armed.append(call) or call)
    starts = Starts()
    for _ in range(1000):
        starts.end(starts.begin(Request()))
    assert len(armed) == 1
    armed[0][1]()
    assert len(armed) == 1
    starts.begin(Request())
    assert len(armed) == 2


async def test_a_start_that_cannot_be_recorded_cuts_its_request_and_no_other() -> None:
    starts = Starts()
    broken, whole = Request(LASTS_SECONDS, broken=True), Request(LASTS_SECONDS)
    starts.begin(broken)
    starts.begin(whole)
    async with asyncio.timeout(5):
        await whole.told.wait()
    assert broken.abandoned.is_set()
    assert not whole.abandoned.is_set()


async def test_a_fault_in_the_sink_cuts_a_request_that_lasts(
    world: World, origin: Origin, monkeypatch
) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def take_over(reader, _writer, _head) -> None:
        begun.set()
        with contextlib.suppress(OSError):
            await reader.read()
        gone.set()

    origin.take_over = take_over
    sandbox = await world.sandbox()
    under_way = asyncio.ensure_future(request(sandbox))
    async with asyncio.timeout(10):
        await begun.wait()

        def broken(_event) -> None:
            raise RuntimeError("sink")

        with monkeypatch.context() as patch:
            patch.setattr(world.recorder, "record", broken)
            await gone.wait()
    with contextlib.suppress(OSError):
        assert (await under_way).status == 0


@pytest.mark.parametrize("kind", ["dns", "session", "connection"])
async def test_only_requests_are_numbered(world: World, kind) -> None:
    sandbox = await world.sandbox()
    sandbox.session.record(kind, "info", "x")
    assert world.recorder.of(kind)[-1].request is None

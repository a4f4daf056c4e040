"""Events on their way from a worker to the service."""

import asyncio

import pytest

from airut_common.contracts.v1 import EgressEvent
from airut_egress.engine import Engine, EngineSettings
from airut_egress.session import SessionConfig
from airut_egress_proxy.workers import outbox as outboxes
from airut_egress_proxy.workers.batches import BadBatch, read_events, read_head
from airut_egress_proxy.workers.messages import BatchHead
from airut_egress_proxy.workers.outbox import Outbox


class Wire:
    """The other side, which takes what it is given or nothing."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self.blocked = False
        self.heads: list[BatchHead] = []
        self.events: list[EgressEvent] = []
        self.changed = asyncio.Event()

    def send(self, kind: bytes, body: bytes) -> None:
        head, events = read_head(body)
        self.heads.append(head)
        for sandbox, number, encoded in read_events(events):
            event = EgressEvent.decode(encoded)
            assert (event.sandbox, event.seq) == (sandbox, number)
            self.events.append(event)
        if self.blocked:
            self.waiting_bytes += len(body)
        self.changed.set()

    async def seen(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def engine(wire: Wire, tmp_path) -> Engine:  # type: ignore[no-untyped-def]
    box = Outbox(wire, lambda: engine.sessions)
    engine = Engine(EngineSettings(), sink=box, installation_key=b"k" * 32, state_dir=tmp_path)
    return engine


def open_one(engine: Engine, sandbox: str = "s1") -> None:
    engine.open(SessionConfig(sandbox, "t1", "demo", "domains: []\n"))


async def test_events_go_out_in_order_with_how_far_their_session_is(engine: Engine, wire: Wire) -> None:
    open_one(engine)
    session = engine.sessions["s1"]
    for number in range(3000):
        session.record("request", "allow", "rule", path=f"/ü\n{number}" + "x" * 500)
    session.names.address_for("api.example.test")
    await wire.seen(3001)
    assert [event.seq for event in wire.events] == list(range(3001))
    assert wire.events[5].path.startswith("/ü\n4")
    assert len(wire.heads) > 1, "in batches of a bounded size"
    told = [moved for head in wire.heads for moved in head.moved]
    assert [moved.progress for moved in told] == [session.progress], "with the first of them, not behind"
    assert wire.heads[0].moved
    assert (told[-1].names_from, told[-1].names) == (0, ("api.example.test",))
    assert told[-1].dropped == 0


async def test_who_does_not_read_costs_events_and_not_memory(
    engine: Engine, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field notes 37: what was lost is counted and told."""
    monkeypatch.setattr(outboxes, "_MAX_WAITING", 200_000)
    monkeypatch.setattr(outboxes, "_MAX_UNSENT", 50_000)
    wire.blocked = True
    open_one(engine)
    session = engine.sessions["s1"]
    for _ in range(5000):
        session.record("request", "allow", "rule", path="/" + "x" * 500)
    await wire.seen(1)
    wire.blocked, wire.waiting_bytes = False, 0
    session.record("request", "allow", "rule")
    async with asyncio.timeout(10):
        while sum(moved.dropped for head in wire.heads for moved in head.moved) + len(wire.events) < 5002:
            wire.changed.clear()
            await wire.changed.wait()
    assert 0 < len(wire.events) < 1000
    numbers = [event.seq for event in wire.events]
    assert numbers == sorted(numbers)


async def test_an_answer_comes_after_the_events_that_led_to_it(wire: Wire, tmp_path) -> None:  # type: ignore[no-untyped-def]
    box = Outbox(wire, dict)
    engine = Engine(EngineSettings(), sink=box, installation_key=b"k" * 32, state_dir=tmp_path)
    open_one(engine)
    assert wire.events == []
    box.flush()
    assert [event.reason for event in wire.events] == ["opened"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b'{"moved": 1}',
        b"{}\ns1 x {}",
        b"{}\ns1 -1 {}",
        b"{}\ns1 1",
        b"{}\n\xff\xff 1 {}",
        b"{}\ns1 1 " + b"x" * 300_000,
        b"{}\ns1 " + b"9" * 30 + b" {}",
    ],
)
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(BadBatch):
        list(read_events(read_head(body)[1]))

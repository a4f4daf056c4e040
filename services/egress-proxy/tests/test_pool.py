"""What the service keeps of its workers' sessions. The processes are objects here, and do what the test says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from airut_common.config.credentials import MaskedCredential
from airut_common.contracts.v1 import OpenedSession, SessionsListed
from airut_common.secrets import Secret
from airut_egress import sessions
from airut_egress.credentials import BadCredential
from airut_egress.engine import EngineSettings, UnknownToken
from airut_egress.engines import EnginesUnavailable
from airut_egress.entries import Credential
from airut_egress.progress import Progress, Totals
from airut_egress.session import SessionConfig
from airut_egress_proxy.sink import Sandbox
from airut_egress_proxy.workers import pool as pools
from airut_egress_proxy.workers import slot as slots
from airut_egress_proxy.workers.batches import encode_batch, event_line
from airut_egress_proxy.workers.messages import (
    Answer,
    Ask,
    Attach,
    BatchHead,
    Close,
    Moved,
    Open,
    Reconfigure,
    Replace,
    ReplacePolicy,
    Start,
)
from airut_egress_proxy.workers.pool import WorkerPool
from airut_egress_proxy.workers.process import WorkerLost

WAIT_SECONDS = 10.0


def credential(value: str = "sk-ant-real0123456789abcdefREAL", name: str = "API_KEY") -> Credential:
    return Credential(name, MaskedCredential(scopes=("api.example.test",)), {name: Secret(value)})


def config(sandbox: str = "s1", *credentials: Credential) -> SessionConfig:
    return SessionConfig(sandbox, f"task-{sandbox}", "demo", "domains: []\n", credentials=credentials)


class Process:
    """One worker process."""

    def __init__(self, number: int, on_events: Callable[[bytes], None], world: "World") -> None:
        self.number = number
        self.pid = world.next_pid()
        self.lost = asyncio.Event()
        self.asked: list[Ask] = []
        self.given: list[Sequence[socket.socket]] = []
        self._on_events = on_events
        self._world = world

    async def ask(self, ask: Ask, sockets: Sequence[socket.socket] = (), *, seconds: float) -> Answer:
        if self.lost.is_set():
            raise WorkerLost("it has ended")
        self.asked.append(ask)
        self.given.append(sockets)
        await asyncio.sleep(0)
        await self._world.hold.wait()
        if self._world.kills(ask):
            self.lost.set()
            raise WorkerLost("it was killed by that")
        return self._world.answer(ask)

    async def end(self) -> None:
        self.lost.set()

    def tell(self, *moved: Moved, events: Sequence[tuple[str, int]] = (), connections: int = 0) -> None:
        lines = [event_line(sandbox, number, b"{}") for sandbox, number in events]
        self._on_events(encode_batch(BatchHead(moved=moved, connections=connections), lines))

    def kinds(self) -> list[str]:
        return [ask.kind for ask in self.asked]


class World:
    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.kills: Callable[[Ask], bool] = lambda ask: False
        self.hold = asyncio.Event()
        self.hold.set()
        self._pid = 100

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    def answer(self, ask: Ask) -> Answer:
        match ask:
            case Open():
                held = ask.after.environment or {
                    each.name: f"stand-in-{each.name}" for each in ask.credentials
                }
                return Answer(number=0, environment=dict(held), ca_certificate="PEM")
            case Replace() if any("bad" in each.values.values() for each in ask.credentials):
                raise BadCredential("it cannot be masked")
            case Close():
                return Answer(number=0, totals=Totals(requests=3))
        return Answer(number=0)

    async def spawn(self, number: int, on_events: Callable[[bytes], None]) -> Process:
        process = Process(number, on_events, self)
        self.processes.append(process)
        return process

    def of(self, number: int) -> Process:
        """The newest of a place."""
        return [process for process in self.processes if process.number == number][-1]


class Sink:
    def __init__(self) -> None:
        self.events: list[tuple[Sandbox, int]] = []
        self.dropped: list[tuple[Sandbox, int, int]] = []

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None:
        self.events.append((origin, number))

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None:
        self.dropped.append((origin, count, last))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(slots.WorkerProcess, "spawn", world.spawn)
    return world


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process lives for long, nobody waits for long."""
    monkeypatch.setattr(pools, "_PATIENCE_SECONDS", 0.5)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
async def pool(world: World, sink: Sink, tmp_path: Path) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(
        EngineSettings(),
        workers=2,
        sink=sink,
        installation_key=b"k" * 32,
        state_dir=tmp_path,
        log_format="text",
        log_level="debug",
    )
    async with pool.running():
        yield pool


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)


async def until(accept: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not accept():
            await asyncio.sleep(0.001)


async def replaced(pool: WorkerPool, world: World, number: int) -> Process:
    """End the process of a place; the next one, when it has its sessions."""
    before = world.of(number)
    before.lost.set()
    await until(lambda: world.of(number) is not before and pool.pids[number] == world.of(number).pid)
    return world.of(number)


async def test_sandboxes_are_spread_and_stay(pool: WorkerPool, world: World) -> None:
    for number in range(4):
        await pool.open(config(f"s{number}"))
    assert [pool.slot_of(f"s{number}") for number in range(4)] == [0, 1, 0, 1]
    await pool.close("s0")
    await pool.open(config("s2"))
    assert pool.slot_of("s2") == 0
    await pool.open(config("s4"))
    assert pool.slot_of("s4") == 0
    world.of(0).tell(connections=5)
    await pool.open(config("s5"))
    assert pool.slot_of("s5") == 1, "as many sessions, and fewer connections"


async def test_one_that_opens_twice_at_once_is_one(pool: WorkerPool, world: World) -> None:
    first, second = await asyncio.gather(pool.open(config()), pool.open(config()))
    assert first == second
    assert world.of(0).kinds().count("open") == 2
    assert "open" not in world.of(1).kinds()


async def test_a_change_of_credentials_waits_for_the_opening(pool: WorkerPool, world: World) -> None:
    """It would otherwise miss a session that is opened with what has just been taken away."""
    await until(lambda: None not in pool.pids)
    world.hold.clear()
    opening = asyncio.create_task(pool.open(config("s1", credential())))
    await until(lambda: "open" in world.of(0).kinds())
    assert set(pool.sessions) == {"s1"}
    taking = asyncio.create_task(pool.replace_credentials("s1", []))
    world.hold.set()
    await asyncio.gather(opening, taking)
    assert world.of(0).kinds()[-2:] == ["open", "replace"]


async def test_a_session_goes_on_in_the_next_process(pool: WorkerPool, world: World) -> None:
    opened = await pool.open(config("s1", credential(), credential(name="OTHER_KEY")))
    sockets = pair()
    await pool.attach(opened.token, *sockets)
    await pool.replace_credentials("s1", [credential("sk-ant-next0123456789abcdefNEXT")])
    progress = Progress(events=7, requests=2, totals=Totals(2, 1, 30, 40), sent={"*": 30})
    world.of(0).tell(Moved(sandbox="s1", progress=progress, names=("a.test", "b.test")))
    world.of(0).tell(Moved(sandbox="s1", progress=progress, names_from=2, names=("c.test",)))

    process = await replaced(pool, world, 0)
    assert process.kinds() == ["start", "open", "replace", "attach", "reconfigure"]
    start, again, current, attach, _ = process.asked
    assert isinstance(start, Start)
    assert isinstance(again, Open)
    assert again.after.token == opened.token
    assert dict(again.after.environment) == dict(opened.environment)
    assert again.after.progress == Progress(8, 2, Totals(2, 1, 30, 40), {"*": 30}), "one number is left out"
    assert list(again.after.names) == ["a.test", "b.test", "c.test"]
    assert isinstance(current, Replace)
    assert {each.name for each in again.credentials} == {"API_KEY", "OTHER_KEY"}
    assert [each.values["API_KEY"] for each in current.credentials] == ["sk-ant-next0123456789abcdefNEXT"]
    assert isinstance(attach, Attach)
    assert process.given[3] == sockets

    # The next one tells all names again, and they are no more than before.
    process.tell(Moved(sandbox="s1", progress=progress, names=("a.test", "b.test", "c.test", "d.test")))
    last = (await replaced(pool, world, 0)).asked[1]
    assert isinstance(last, Open)
    assert list(last.after.names) == ["a.test", "b.test", "c.test", "d.test"]
    await pool.close("s1")
    assert all(each.fileno() == -1 for each in sockets)


async def test_another_policy_goes_on_in_the_next_process(pool: WorkerPool, world: World) -> None:
    await pool.open(config("s1", credential(), credential(name="OTHER_KEY")))
    await pool.replace_credentials("s1", [credential()])
    await pool.replace_policy("s1", "domains: [new.test]\n", "new.yaml")
    assert isinstance(world.of(0).asked[-1], ReplacePolicy)
    again = (await replaced(pool, world, 0)).asked[1]
    assert isinstance(again, Open)
    assert (again.policy, again.policy_source) == ("domains: [new.test]\n", "new.yaml")
    assert {each.name for each in again.credentials} == {"API_KEY", "OTHER_KEY"}


async def test_a_policy_for_a_session_that_closes_meanwhile(pool: WorkerPool, world: World) -> None:
    await pool.open(config("s1"))
    world.hold.clear()
    closing = asyncio.create_task(pool.close("s1"))
    await until(lambda: "close" in world.of(0).kinds())
    replacing = asyncio.create_task(pool.replace_policy("s1", "domains: []\n", "new.yaml"))
    world.hold.set()
    await closing
    with pytest.raises(KeyError):
        await replacing
    assert not pool.sessions
    assert "replace-policy" not in world.of(0).kinds()


async def test_pages_of_sessions(pool: WorkerPool, world: World, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "PAGE", 2)
    networks = sessions.SandboxNetworks(pool, attach_socket=tmp_path / "attach.sock")
    opened = [await pool.open(config(name, credential())) for name in ("c", "a", "b")]
    tcp, udp = pair()
    await networks._take(opened[1].token, tcp, udp)
    world.of(pool.slot_of("a")).tell(Moved(sandbox="a", progress=Progress(totals=Totals(4, 1, 20, 30))))
    first = networks.page("")
    assert [each.sandbox for each in first.sessions] == ["a", "b"]
    assert first.more
    a = first.sessions[0]
    assert (a.task, a.repo, a.attached) == ("task-a", "demo", True)
    assert (a.requests, a.denied, a.bytes_out, a.bytes_in) == (4, 1, 20, 30)
    second = networks.page("b")
    assert ([each.sandbox for each in second.sessions], second.more) == (["c"], False)
    assert not second.sessions[0].attached
    told = first.model_dump_json() + second.model_dump_json()
    secrets = [each.token for each in opened] + [
        text for each in opened for text in each.environment.values()
    ]
    assert not [secret for secret in secrets if secret in told]
    await pool.close_all()


def test_a_full_page_is_a_message() -> None:
    longest = OpenedSession(
        sandbox="a" * 64, task="a" * 64, repo="a" * 40, attached=False, open_seconds=1e7,
        requests=2**53, denied=2**53, bytes_out=2**63, bytes_in=2**63,
    )  # fmt: skip
    page = SessionsListed(sessions=(longest,) * sessions.PAGE, more=True)
    assert len(page.encode()) < 512 * 1024


async def test_what_is_not_open_is_not_restored(pool: WorkerPool, world: World) -> None:
    await pool.open(config("s1"))
    await pool.close("s1")
    await pool.open(config("s2"))
    assert (await replaced(pool, world, pool.slot_of("s2"))).kinds() == [
        "start",
        "open",
        "replace",
        "reconfigure",
    ]
    other = await replaced(pool, world, 1 - pool.slot_of("s2"))
    assert other.kinds() == ["start", "reconfigure"]


async def test_what_kills_two_processes_is_not_asked_a_third_time(pool: WorkerPool, world: World) -> None:
    world.kills = lambda ask: isinstance(ask, Open)
    with pytest.raises(EnginesUnavailable):
        await pool.open(config())
    assert not pool.sessions
    assert sum(process.kinds().count("open") for process in world.processes) == 2
    world.kills = lambda ask: False
    await pool.open(config())


@pytest.mark.usefixtures("impatient")
async def test_what_was_taken_away_is_not_given_to_a_new_process_though_nobody_answered(
    pool: WorkerPool, world: World
) -> None:
    """The question may get no answer at all: then the process is gone, and so is the value."""
    await pool.open(config("s1", credential()))
    world.kills = lambda ask: isinstance(ask, Replace) and not ask.credentials
    with pytest.raises(EnginesUnavailable):
        await pool.replace_credentials("s1", [])
    world.kills = lambda ask: False
    await until(lambda: None not in pool.pids)
    last = [ask for ask in world.of(0).asked if isinstance(ask, Replace)][-1]
    assert last.credentials == ()


async def test_a_value_that_cannot_be_masked_leaves_the_old_one(pool: WorkerPool, world: World) -> None:
    await pool.open(config("s1", credential()))
    with pytest.raises(BadCredential):
        await pool.replace_credentials("s1", [credential("bad")])
    process = await replaced(pool, world, 0)
    told = [ask for ask in process.asked if isinstance(ask, Replace)]
    values = [each.values["API_KEY"] for ask in told for each in ask.credentials]
    assert values == ["sk-ant-real0123456789abcdefREAL"]


async def test_a_worker_speaks_for_its_own_sandboxes_alone(
    pool: WorkerPool, world: World, sink: Sink
) -> None:
    await pool.open(config("s1"))
    await pool.open(config("s2"))
    world.of(0).tell(
        Moved(sandbox="s2", progress=Progress(events=99)), events=[("s1", 0), ("s2", 0), ("nobody", 0)]
    )
    assert sink.events == [(("demo", "s1", "task-s1"), 0)]
    assert pool._ledger.kept["s2"].progress.events == 0
    world.of(0).tell(Moved(sandbox="s1", progress=Progress(events=9), dropped=4))
    assert sink.dropped == [(("demo", "s1", "task-s1"), 4, 8)]
    # What comes late from a session that is over still has its place.
    await pool.close("s1")
    world.of(0).tell(events=[("s1", 9)])
    assert sink.events[-1] == (("demo", "s1", "task-s1"), 9)


async def test_tokens(pool: WorkerPool) -> None:
    opened = await pool.open(config())
    tcp, udp = pair()
    with pytest.raises(UnknownToken):
        await pool.attach(opened.token + "x", tcp, udp)
    await pool.close("s1")
    with pytest.raises(UnknownToken):
        await pool.attach(opened.token, tcp, udp)
    assert tcp.fileno() >= 0, "whoever is refused keeps its sockets"
    tcp.close()
    udp.close()


@pytest.mark.usefixtures("impatient")
async def test_settings_reach_those_who_are_not_up_yet(pool: WorkerPool, world: World) -> None:
    await until(lambda: None not in pool.pids)
    settings = EngineSettings(allow_networks=["10.0.0.0/8"])
    world.kills = lambda ask: isinstance(ask, Reconfigure) and ask.settings == settings
    await pool.reconfigure(settings)
    world.kills = lambda ask: False
    await until(lambda: None not in pool.pids)
    for number in range(2):
        start = world.of(number).asked[0]
        assert isinstance(start, Start)
        assert start.settings == settings


async def test_closing_tells_totals_and_zeros_for_what_is_not_open(pool: WorkerPool, world: World) -> None:
    await pool.open(config())
    assert (await pool.close("s1")).requests == 3
    assert await pool.close("s1") == Totals()
    await pool.open(config())
    world.of(pool.slot_of("s1")).tell(Moved(sandbox="s1", progress=Progress(totals=Totals(requests=8))))
    world.kills = lambda ask: isinstance(ask, Close)
    assert (await pool.close("s1")).requests == 8, "as far as it was told"
    assert not pool.sessions

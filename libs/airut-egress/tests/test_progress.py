"""A session that goes on in another engine is the same to its sandbox."""

from pathlib import Path

from airut_egress.engine import Engine, EngineSettings
from airut_egress.progress import Continuation, Progress, Totals
from airut_egress.session import SessionConfig
from airut_egress.testing.world import ALLOW_ALL, Recorder, bearer_credential

NAMES = ["api.example.test", "other.example.test", "third.example.test"]


def engine(folder: Path, sink: Recorder) -> Engine:
    settings = EngineSettings(upload_limits={"api.example.test": 1000})
    return Engine(settings, sink=sink, installation_key=b"k" * 32, state_dir=folder)


def config(value: str = "sk-ant-real0123456789abcdefREAL") -> SessionConfig:
    return SessionConfig("s1", "t1", "demo", ALLOW_ALL, credentials=(bearer_credential(value),))


async def test_everything_that_a_sandbox_can_see_goes_on(tmp_path: Path) -> None:
    first, sink = engine(tmp_path, Recorder()), Recorder()
    opened = first.open(config())
    before = first.sessions["s1"]
    addresses = [before.names.address_for(name) for name in NAMES]
    before.record("request", "allow", "rule", bytes_out=10, bytes_in=20)
    before.record("connection", "deny", "port")
    before.count_sent("api.example.test", 900)
    after = Continuation(opened.token, opened.environment, before.progress, before.names.given(0))

    second = engine(tmp_path, sink)
    # Another length: what the sandbox holds stays, though it would be derived in another way now.
    resumed = second.open(config("sk-ant-another-0123456789abcdefREAL"), after=after)
    session = second.sessions["s1"]
    assert resumed == opened
    assert [str(address) for address in addresses] == [str(session.names.address_for(name)) for name in NAMES]
    assert [session.names.name_for(address) for address in addresses] == NAMES
    assert [(event.reason, event.seq) for event in sink.events] == [("resumed", 3)]
    assert session.totals == Totals(requests=1, denied=1, bytes_out=10, bytes_in=20)
    assert not session.may_send("api.example.test", 101), "what was sent stays counted"
    assert session.may_send("api.example.test", 100)
    # Each counts for itself from here on.
    session.record("request", "allow", "rule")
    assert before.totals.requests == 1


async def test_a_session_may_begin_with_a_token_that_is_known(tmp_path: Path) -> None:
    sink = Recorder()
    opened = engine(tmp_path, sink).open(config(), after=Continuation("known", progress=Progress()))
    assert opened.token == "known"
    assert [(event.reason, event.seq) for event in sink.events] == [("opened", 0)]


async def test_names_whose_addresses_collide_keep_theirs(tmp_path: Path) -> None:
    """Who was asked first decides, so the order is kept."""
    first = engine(tmp_path, Recorder())
    opened = first.open(config())
    names = first.sessions["s1"].names
    seen = {
        name: str(names.address_for(name)) for name in (f"n{number}.example.test" for number in range(3000))
    }
    given = names.given(0)

    def addresses(order: list[str], folder: Path) -> dict[str, str]:
        second = engine(folder, Recorder())
        second.open(config(), after=Continuation(opened.token, names=order))
        return {name: str(second.sessions["s1"].names.address_for(name)) for name in seen}

    assert addresses(given, tmp_path) == seen
    assert addresses(given[::-1], tmp_path) != seen, "there are collisions among so many"

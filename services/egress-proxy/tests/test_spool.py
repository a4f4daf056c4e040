"""Events on disk while the bus is away."""

from pathlib import Path

import pytest

from airut_common.contracts.v1 import EgressEvent, utc_now
from airut_egress_proxy.sink import BusSink
from airut_egress_proxy.spool import Spool


class Outlet:
    """A bus that is there or not."""

    def __init__(self) -> None:
        self.connected = True
        self.room = 1_000_000
        self.taken: list[EgressEvent] = []

    def publish_soon(self, subject: str, data: bytes) -> bool:
        message = EgressEvent.decode(data)
        assert subject == f"airut.v1.event.egress.{message.repo}.{message.sandbox}"
        if len(self.taken) >= self.room:
            return False
        self.taken.append(message)
        return True


def event(seq: int, path: str = "/") -> EgressEvent:
    return EgressEvent(
        kind="request",
        repo="demo",
        sandbox="s1",
        task="t1",
        at=utc_now(),
        seq=seq,
        decision="allow",
        path=path,
    )


@pytest.fixture
def outlet() -> Outlet:
    return Outlet()


async def test_events_go_to_the_bus_at_once(outlet: Outlet, tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool")
    BusSink(outlet, spool).record(event(0))
    assert [each.seq for each in outlet.taken] == [0]
    assert spool.empty


async def test_what_the_absent_bus_missed_comes_later_and_in_order(outlet: Outlet, tmp_path: Path) -> None:
    sink = BusSink(outlet, Spool.open(tmp_path / "spool"))
    outlet.connected = False
    for seq in range(1200):
        sink.record(event(seq, path="/ü\n" + "x" * 1000))
    assert outlet.taken == []
    outlet.connected = True
    sink.record(event(1200))
    for _ in range(4):
        sink._drain()
    assert [each.seq for each in outlet.taken] == list(range(1201))
    assert (tmp_path / "spool").stat().st_size == 0
    assert outlet.taken[3].path == "/ü\n" + "x" * 1000


async def test_a_full_buffer_loses_nothing_in_the_middle_of_draining(outlet: Outlet, tmp_path: Path) -> None:
    sink = BusSink(outlet, Spool.open(tmp_path / "spool"))
    outlet.connected = False
    for seq in range(10):
        sink.record(event(seq))
    outlet.connected, outlet.room = True, 4
    sink._drain()
    assert len(outlet.taken) == 4
    outlet.room = 100
    sink._drain()
    assert [each.seq for each in outlet.taken] == list(range(10))


async def test_spooled_events_survive_a_restart(outlet: Outlet, tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool.open(path)
    outlet.connected = False
    sink = BusSink(outlet, spool)
    sink.record(event(0))
    spool.close()
    assert path.stat().st_mode & 0o777 == 0o600
    outlet.connected = True
    BusSink(outlet, Spool.open(path))._drain()
    assert [each.seq for each in outlet.taken] == [0]


async def test_a_line_cut_by_a_crash_is_passed_over(outlet: Outlet, tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b'["airut.v1.ev')
    spool = Spool.open(path)
    sink = BusSink(outlet, spool)
    sink._drain()
    assert spool.empty
    sink.record(event(1))
    assert [each.seq for each in outlet.taken] == [1]


async def test_drops_are_counted_and_told(outlet: Outlet, tmp_path: Path) -> None:
    """Field notes 37: a flood that hides something is itself seen."""
    sink = BusSink(outlet, Spool.open(tmp_path / "spool", max_bytes=1000))
    outlet.connected = False
    for seq in range(50):
        sink.record(event(seq))
    outlet.connected = True
    sink._drain()
    kept = len(outlet.taken)
    assert 0 < kept < 50
    sink._report_drops()
    told = outlet.taken[-1]
    assert (told.kind, told.dropped, told.sandbox) == ("session", 50 - kept, "s1")
    sink._report_drops()
    assert outlet.taken[-1] is told

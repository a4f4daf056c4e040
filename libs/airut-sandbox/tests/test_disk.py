"""When to look at the disk, and who goes when it is full."""

import pytest

from airut_common.config.models import LimitsConfig
from airut_sandbox.disk import GRACE_BYTES, MIB, Ceiling, Free, Held, HostDisk, Looked, ceiling, should_look

GIB = 1024 * MIB
MOST = Ceiling(10 * GIB, 10_000)
FREE = Free(100 * GIB, 10**6)


def looked(held: int = GIB, *, files: int = 100, took: float = 0.1) -> Looked:
    return Looked(Held(held, files), FREE, 100.0, took)


@pytest.mark.parametrize(
    ("last", "free", "now", "wanted"),
    [
        (None, FREE, 0.0, True),
        (looked(), FREE, 100.3, False),
        (looked(), FREE, 102.1, True),
        (looked(took=4), FREE, 110.0, False),
        (looked(took=4), FREE, 120.1, True),
        (looked(took=60), FREE, 159.0, False),
        (looked(took=60), FREE, 160.1, True),
        # The host lost what the sandbox had left to take: it may be over.
        (looked(), Free(91 * GIB, 10**6), 100.3, True),
        (looked(), Free(92 * GIB, 10**6), 100.3, False),
        (looked(), Free(100 * GIB, 10**6 - 9_900), 100.3, True),
        # One that is over by its own measure does not make it run all the time.
        (looked(11 * GIB), Free(100 * GIB - 1, 10**6), 100.3, False),
        (looked(took=4), Free(91 * GIB, 10**6), 103.0, False),
    ],
)
def test_when_to_look(last: Looked | None, free: Free, now: float, wanted: bool) -> None:
    assert should_look(last, MOST, free, now) is wanted


def test_what_is_over_already_may_grow_by_a_little() -> None:
    limits = LimitsConfig(disk_mib=1024, files=1000)
    assert ceiling(limits) == Ceiling(GIB, 1000)
    assert ceiling(limits, Held(5 * GIB, 10)) == Ceiling(5 * GIB + GRACE_BYTES, 10_010)
    assert ceiling(limits, Held(1, 10)) == Ceiling(GIB, 10_010)


def test_the_one_that_took_most_goes_and_then_there_is_a_moment_of_rest() -> None:
    host = HostDisk({"a": GIB, "b": 2 * GIB, "c": 0})
    assert host.victim(2 * GIB, GIB, now=10) is None
    assert host.victim(GIB - 1, GIB, now=10) == "b"
    host.grown["a"] = 5 * GIB
    assert host.victim(GIB - 1, GIB, now=10) == "b", "one at a time"
    host.forget("c", 10)
    host.forget("b", 11)
    assert host.victim(GIB - 1, GIB, now=12) is None
    assert host.victim(GIB - 1, GIB, now=15) == "a"


def test_nobody_goes_for_what_somebody_else_took_unless_there_is_next_to_nothing_left() -> None:
    host = HostDisk({"a": 0, "b": MIB})
    assert host.victim(GIB - 1, GIB, now=10) is None
    assert host.victim(GIB // 4, GIB, now=10) == "b"
    assert HostDisk().victim(0, GIB, now=10) is None

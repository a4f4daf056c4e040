"""One event for a burst, and a count."""

import asyncio

import pytest

from airut_egress import bursts
from airut_egress.bursts import Bursts, Kind

PORT = Kind("deny", "port", "a.test", 22)


async def test_the_first_is_said_at_once_and_the_rest_as_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "_BURST_SECONDS", 0.05)
    said, counted = list[tuple[Kind, int]](), asyncio.Event()

    def record(kind: Kind, more: int) -> None:
        said.append((kind, more))
        if more > 1:
            counted.set()

    noted = Bursts(record)
    for _ in range(10_000):
        noted.note(PORT)
    assert said == [(PORT, 1)]
    await asyncio.wait_for(counted.wait(), 10)
    assert said == [(PORT, 1), (PORT, 9_999)]
    noted.note(PORT)
    assert said[2:] == [(PORT, 1)]
    noted.flush()
    assert len(said) == 3


async def test_different_ones_are_all_said_up_to_a_bound() -> None:
    said = list[tuple[Kind, int]]()
    noted = Bursts(lambda kind, more: said.append((kind, more)))
    for port in range(5_000):
        noted.note(Kind("deny", f"protocol: {port}", "a.test", port))
    assert len(said) == 257
    noted.flush()
    assert sum(more for _, more in said) == 5_000
    assert len(said) == 258

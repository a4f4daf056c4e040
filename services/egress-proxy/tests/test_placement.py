"""Which worker takes a new sandbox."""

import os

import pytest

from airut_egress_proxy.workers.placement import Load, choose, default_workers


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ([Load()], 0),
        ([Load(), Load()], 0),
        ([Load(2), Load(1), Load(1)], 1),
        ([Load(1, connections=9), Load(1, connections=3)], 1),
        ([Load(0, connections=200), Load(1)], 0),
        ([Load(failing=True), Load(7)], 1),
        ([Load(2, failing=True), Load(1, failing=True)], 1),
    ],
    ids=["only", "first", "sessions", "connections", "sessions-first", "failing", "all-failing"],
)
def test_a_sandbox_goes_where_the_least_is(loads: list[Load], chosen: int) -> None:
    assert choose(loads) == chosen


def test_one_worker_for_each_processor_and_eight_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for processors in (1, 2, 8, 64, None):
        monkeypatch.setattr(os, "process_cpu_count", lambda count=processors: count)
        found[processors] = default_workers()
    assert found == {1: 1, 2: 2, 8: 8, 64: 8, None: 1}

"""Progress as events: rare, bounded, and the last word is told."""

import asyncio

import pytest

import airut_orchestrator.progress as progress_module
from airut_common.contracts.v1 import AgentProgress, PlanStep
from airut_orchestrator.agents import Said
from airut_orchestrator.progress import SHOWN_STEPS, Progress


class Reader:
    """What is said is what it does; `tool` is the length of its plan."""

    def __init__(self) -> None:
        self.activity = ""
        self.plan: tuple[PlanStep, ...] = ()

    def take(self, said: Said) -> None:
        self.activity = said.text
        if said.tool is not None:
            self.plan = (PlanStep(text="step", status="pending"),) * int(said.tool)


class Bench:
    def __init__(self) -> None:
        self.events: list[AgentProgress] = []
        self.changed = asyncio.Event()
        self.progress = Progress(Reader(), self.take, repo="demo", task="t", conversation="c")

    def take(self, event: AgentProgress) -> None:
        self.events.append(event)
        self.changed.set()

    def say(self, text: str, steps: int | None = None) -> None:
        self.progress.take(Said("text", text, tool=None if steps is None else str(steps)))

    async def until_told(self, text: str) -> None:
        async with asyncio.timeout(10):
            while not self.events or self.events[-1].activity != text:
                self.changed.clear()
                await self.changed.wait()

    @property
    def told(self) -> list[str]:
        return [event.activity for event in self.events]


async def test_the_first_is_told_at_once_and_then_only_the_latest_of_a_second(monkeypatch) -> None:
    monkeypatch.setattr(progress_module, "EVERY_SECONDS", 0.05)
    bench = Bench()
    for text in ("a", "b", "c", "d"):
        bench.say(text)
    assert bench.told == ["a"]
    await bench.until_told("d")
    assert bench.told == ["a", "d"]
    assert (bench.events[1].at - bench.events[0].at).total_seconds() > 0.04


async def test_the_last_word_is_told_at_the_end_and_nothing_twice() -> None:
    bench = Bench()
    for text in ("a", "a", "b", "c"):
        bench.say(text)
    bench.progress.end()
    bench.progress.end()
    assert bench.told == ["a", "c"]


async def test_what_came_back_to_what_it_was_is_not_told_again() -> None:
    bench = Bench()
    for text in ("a", "b", "a"):
        bench.say(text)
    bench.progress.end()
    assert bench.told == ["a"]


async def test_a_plan_is_told_when_it_changed_and_cut() -> None:
    bench = Bench()
    monkey = [("a", 2), ("b", None), ("c", SHOWN_STEPS + 5), ("d", 0)]
    for text, steps in monkey:
        bench.progress._not_before = 0
        bench.say(text, steps)
    found = [(None if event.plan is None else len(event.plan), event.plan_left_out) for event in bench.events]
    assert found == [(2, 0), (None, 0), (SHOWN_STEPS, 5), (0, 0)]


@pytest.mark.parametrize("most", [1, 1000])
async def test_there_is_an_end_to_it(monkeypatch, most: int) -> None:
    monkeypatch.setattr(progress_module, "MAX_BYTES", most)
    monkeypatch.setattr(progress_module, "EVERY_SECONDS", 0)
    bench = Bench()
    for number in range(1000):
        bench.say(str(number))
    assert 1 <= len(bench.events) <= most // 100 + 1

"""Whose turn it is."""

import asyncio
from collections import Counter

from airut_egress.turns import Turns


async def busy(turns: Turns, who: str, steps: list[str], *, times: int) -> None:
    for _ in range(times):
        await turns.take(who)
        steps.append(who)


async def test_a_sandbox_with_many_connections_gets_no_more_turns_than_one_with_a_single() -> None:
    turns, steps = Turns(), list[str]()
    crowd = [asyncio.create_task(busy(turns, "crowd", steps, times=50)) for _ in range(200)]
    while len(steps) < 100:
        await asyncio.sleep(0)
    begun = len(steps)
    await busy(turns, "quiet", steps, times=20)
    # A step of the crowd between two of the quiet one, and one more for each task's own pass of the loop.
    assert Counter(steps[begun:])["crowd"] <= 45
    await asyncio.gather(*crowd)
    assert Counter(steps) == {"crowd": 10_000, "quiet": 20}


async def test_who_is_alone_never_waits() -> None:
    turns, steps = Turns(), list[str]()
    await asyncio.wait_for(busy(turns, "alone", steps, times=1000), 10)
    assert len(steps) == 1000


async def test_those_of_one_sandbox_are_served_in_order() -> None:
    turns, steps = Turns(), list[int]()

    async def once(number: int) -> None:
        await turns.take("one")
        steps.append(number)

    await asyncio.gather(*(once(number) for number in range(50)))
    assert steps == list(range(50))


async def test_who_gives_up_does_not_hold_up_the_others() -> None:
    turns, steps = Turns(), list[str]()
    await turns.take("first")
    given_up = [asyncio.create_task(busy(turns, "one", steps, times=1)) for _ in range(10)]
    last = asyncio.create_task(busy(turns, "one", steps, times=1))
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    await asyncio.wait_for(last, 10)
    assert steps == ["one"] * 2  # the very first had its turn before it could be cancelled
    assert not turns._waiting

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy.exc import OperationalError

from airut_common.bus import Bus, Retry
from airut_common.bus.topology import ORCHESTRATOR_TASKS, TASKS
from airut_common.contracts.v1 import TaskRequest, subjects
from airut_common.testing.builders import task_request
from airut_orchestrator.claim import Claim
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents

from .conftest import recorded


async def no_wish(task: QueuedTask) -> None:
    pytest.fail(f"{task.id} asked for nothing to be stopped")


def never() -> None:
    pytest.fail("this was not to happen")


async def test_what_is_acknowledged_is_committed_and_told(bus: Bus, store: Store) -> None:
    claimed = asyncio.Event()
    claim = Claim(
        store, TaskEvents(bus), claimed=claimed.set, has_room=lambda: True, wish=no_wish, disk_full=never
    )
    request = task_request()
    await bus.publish(subjects.task_requested(request.repo), request, msg_id=request.id)
    consuming = asyncio.create_task(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, claim))
    async with asyncio.timeout(10):
        await claimed.wait()
        while await bus.stream_size(TASKS.name):
            await asyncio.sleep(0.02)
    consuming.cancel()
    with suppress(asyncio.CancelledError):
        await consuming
    assert (await store.begin_next()).request == request
    assert [(event.task, event.state) for event in await recorded(bus, 1)] == [(request.id, "queued")]


async def test_row_54_a_second_delivery_is_acknowledged_and_changes_nothing(bus: Bus, store: Store) -> None:
    claim = Claim(
        store, TaskEvents(bus), claimed=lambda: None, has_room=lambda: True, wish=no_wish, disk_full=never
    )
    request = task_request()
    await claim(request)
    await store.begin_next()
    await claim(request)
    assert await store.begin_next() is None


async def test_nothing_is_acknowledged_while_the_database_fails(bus: Bus) -> None:
    class Broken:
        async def add(self, request: TaskRequest) -> None:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    made_room: list[bool] = []
    claim = Claim(
        Broken(),  # type: ignore[arg-type]
        TaskEvents(bus),
        claimed=never,
        has_room=lambda: True,
        wish=no_wish,
        disk_full=lambda: made_room.append(True),
    )
    with pytest.raises(Retry):
        await claim(task_request())
    assert made_room == [True]

"""What `airut status` says of messages that were given up, on a real bus."""

import asyncio

from airut.failures import SHOWN, Failure, read_failures
from airut_common.bus import Bus, Reject
from airut_common.bus.topology import DEAD, EMAIL_REPLIES, ORCHESTRATOR_TASKS
from airut_common.contracts.v1 import Reply, TaskRequest, subjects
from airut_common.testing.builders import reply, task_request


async def given_up(bus: Bus, count: int) -> tuple[Failure, ...]:
    """The failures, once there are so many dead letters."""
    async with asyncio.timeout(20):
        while await bus.stream_size(DEAD.name) < count:
            await asyncio.sleep(0.02)
    return await read_failures(bus)


async def refuse(_message: Reply | TaskRequest) -> None:
    raise Reject("550 5.1.1 no such user\x1b[2J")


async def test_nothing(bus: Bus) -> None:
    assert await read_failures(bus) == ()


async def test_the_newest_first_with_their_reasons(bus: Bus) -> None:
    answer, request = reply(), task_request()
    loops = [
        asyncio.ensure_future(bus.consume(EMAIL_REPLIES, Reply, refuse)),
        asyncio.ensure_future(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, refuse)),
    ]
    try:
        await bus.publish(subjects.reply("email", answer.repo), answer, msg_id=answer.id)
        await given_up(bus, 1)
        await bus.publish(subjects.task_requested(request.repo), request, msg_id=request.id)
        second, first = await given_up(bus, 2)
        for number in range(SHOWN):
            more = answer.model_copy(update={"id": f"{number:032x}"})
            await bus.publish(subjects.reply("email", more.repo), more, msg_id=more.id)
        many = await given_up(bus, SHOWN + 2)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    assert first.what == f"the answer {answer.id} of {answer.repo} to {answer.route.recipient}"
    assert second.what == f"the request {request.id} of {request.repo} from {request.sender}"
    assert first.reason.startswith("550 5.1.1 no such user")
    assert first.at <= second.at
    assert len(many) == SHOWN


async def test_letters_that_nobody_can_read(bus: Bus) -> None:
    await bus.client.publish("airut.v1.dead.AIRUT_REPLIES", b"not json")
    await bus.client.publish("airut.v1.task.requested.demo", b"not json")
    loop = asyncio.ensure_future(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, refuse))
    try:
        [failure] = await given_up(bus, 2)
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    assert failure.what == "a message on airut.v1.task.requested.demo"
    assert "not published by a service" in failure.reason

import asyncio
import hashlib
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from airut_common.bus import Bus, BusUnavailable, Endpoint, Reject, Retry, open_bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import CONFIG_BUCKET, ORCHESTRATOR_TASKS
from airut_common.contracts.v1 import (
    CloseSession,
    DeadLetter,
    Refused,
    ServiceEvent,
    SessionClosed,
    TaskRequest,
    subjects,
    utc_now,
)
from airut_common.testing.builders import task_request

LIMIT = 30


class Handled:
    """A handler that remembers, and can be told what to raise."""

    def __init__(self, *raises: Exception) -> None:
        self.raises = list(raises)
        self.requests: list[TaskRequest] = []
        self.changed = asyncio.Condition()

    async def __call__(self, request: TaskRequest) -> None:
        async with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        if self.raises:
            raise self.raises.pop(0)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(LIMIT), self.changed:
            await self.changed.wait_for(lambda: len(self.requests) >= count)


async def until_stored(bus: Bus, stream: str, count: int) -> None:
    async with asyncio.timeout(LIMIT):
        while await bus.stream_size(stream) != count:
            await asyncio.sleep(0.02)


async def send(bus: Bus, request: TaskRequest) -> None:
    await bus.publish(subjects.task_requested(request.repo), request, msg_id=request.id)


@pytest.fixture
async def consuming(bus: Bus):
    tasks: list[asyncio.Task[None]] = []

    def start(handler: Handled, concurrency: int = 1) -> None:
        work = bus.consume(ORCHESTRATOR_TASKS, TaskRequest, handler, concurrency=concurrency)
        tasks.append(asyncio.get_running_loop().create_task(work))

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_handled_message_is_gone(bus: Bus, consuming) -> None:
    handler, request = Handled(), task_request()
    consuming(handler)
    await send(bus, request)
    await handler.wait(1)
    assert handler.requests == [request]
    await until_stored(bus, "AIRUT_TASKS", 0)


async def test_row_54_the_same_id_is_stored_once(bus: Bus) -> None:
    request = task_request()
    await send(bus, request)
    await send(bus, request)
    assert await bus.stream_size("AIRUT_TASKS") == 1


async def test_retry_delivers_again(bus: Bus, consuming) -> None:
    handler = Handled(Retry("not now", after=timedelta(seconds=0.1)))
    consuming(handler)
    await send(bus, task_request())
    await handler.wait(2)
    await until_stored(bus, "AIRUT_TASKS", 0)


async def test_reject_leaves_a_dead_letter_with_its_reason(bus: Bus, consuming) -> None:
    handler, request = Handled(Reject("no such repository")), task_request()
    consuming(handler)
    await send(bus, request)
    await until_stored(bus, "AIRUT_DEAD", 1)
    await until_stored(bus, "AIRUT_TASKS", 0)
    letter = await bus._js.get_msg("AIRUT_DEAD", 1)
    dead = DeadLetter.decode(letter.data)
    assert dead.reason == "no such repository"
    assert TaskRequest.model_validate_json(dead.payload) == request


async def test_what_is_no_message_is_a_dead_letter_and_stops_nothing(bus: Bus, consuming) -> None:
    handler = Handled()
    consuming(handler)
    await bus._js.publish("airut.v1.task.requested.demo", b"\xff{not json")
    await send(bus, task_request())
    await handler.wait(1)
    await until_stored(bus, "AIRUT_DEAD", 1)
    await until_stored(bus, "AIRUT_TASKS", 0)


async def test_a_bug_in_the_handler_is_tried_again_not_lost(bus: Bus, consuming, monkeypatch) -> None:
    monkeypatch.setattr("airut_common.bus.deliver.AFTER_A_BUG_SECONDS", 0.05)
    handler = Handled(ZeroDivisionError("bug"))
    consuming(handler)
    await send(bus, task_request())
    await handler.wait(2)
    await until_stored(bus, "AIRUT_TASKS", 0)


async def test_a_poisoned_message_is_given_up_with_a_reason(bus: Bus, consuming, monkeypatch) -> None:
    monkeypatch.setattr("airut_common.bus.deliver.AFTER_A_BUG_SECONDS", 0.01)
    handler = Handled(*(ZeroDivisionError("bug") for _ in range(50)))
    consuming(handler)
    await send(bus, task_request())
    await until_stored(bus, "AIRUT_DEAD", 1)
    await until_stored(bus, "AIRUT_TASKS", 0)
    assert len(handler.requests) == ORCHESTRATOR_TASKS.max_deliveries


async def test_replay_tells_the_past_then_what_comes(bus: Bus) -> None:
    def event(number: int) -> ServiceEvent:
        return ServiceEvent(service="x", at=utc_now(), level="info", code=str(number), text="")

    for number in range(600):
        assert bus.publish_soon("airut.v1.event.service.x", event(number))
    assert await bus.flush_soon(LIMIT)
    codes: list[str] = []
    async with asyncio.timeout(LIMIT):
        async for message in bus.replay(["airut.v1.event.service.>"]):
            codes.append(ServiceEvent.decode(message.data).code)
            if message.pending == 0 and len(codes) == 600:
                bus.publish_soon("airut.v1.event.service.x", event(600))
            if len(codes) == 601:
                break
    assert codes == [str(number) for number in range(601)]


async def test_questions_are_answered_and_refusals_come_back(bus: Bus) -> None:
    async def close(question: CloseSession):
        if question.sandbox == "bug":
            raise ZeroDivisionError
        if question.sandbox == "none":
            return Refused(code="not_found", text="no such sandbox")
        return SessionClosed(sandbox=question.sandbox, requests=3)

    async with bus.serve(
        "egress", {"close": Endpoint("airut.v1.svc.egress.local.close", CloseSession, close)}
    ):

        async def ask(sandbox: str):
            question = CloseSession(sandbox=sandbox)
            return await bus.request(
                "airut.v1.svc.egress.local.close", question, SessionClosed, timeout_seconds=5
            )

        assert await ask("s1") == SessionClosed(sandbox="s1", requests=3)
        assert (await ask("none")).code == "not_found"
        assert (await ask("bug")).code == "internal"
    with pytest.raises(BusUnavailable):
        await ask("s1")


async def test_keys_are_read_watched_and_deleted(bus: Bus) -> None:
    await bus.kv_put(CONFIG_BUCKET, "a.b", b"1")
    await bus.kv_put(CONFIG_BUCKET, "gone", b"x")
    await bus.kv_delete(CONFIG_BUCKET, "gone")
    assert (await bus.kv_get(CONFIG_BUCKET, "a.b")).value == b"1"
    assert await bus.kv_get(CONFIG_BUCKET, "never") is None
    seen = []
    async with asyncio.timeout(LIMIT):
        async for entry in bus.kv_watch(CONFIG_BUCKET):
            if entry is None:
                await bus.kv_put(CONFIG_BUCKET, "a.b", b"2")
                continue
            seen.append((entry.key, entry.value or None))
            if entry.value == b"2":
                break
    assert ("a.b", b"1") in seen
    assert seen[-1] == ("a.b", b"2")
    assert dict(seen)["gone"] is None


async def test_an_empty_bucket_says_so_at_once(bus: Bus) -> None:
    async with asyncio.timeout(LIMIT):
        async for entry in bus.kv_watch(CONFIG_BUCKET, "nothing.>"):
            assert entry is None
            break


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
async def test_blobs_come_back_as_they_were(bus: Bus, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    ref = await bus.put_blob(data[:size], name="../../etc/passwd", media_type="text/plain")
    assert await bus.get_blob(ref) == data[:size]


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
async def test_files_are_blobs_as_well_and_are_never_held_whole(bus: Bus, tmp_path: Path, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    path = tmp_path / "file"
    path.write_bytes(b"before" + data)
    with path.open("rb") as file:
        file.seek(len(b"before"))
        tracemalloc.start()
        ref = await bus.put_file(file, name="a.bin", media_type="application/x-thing")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (ref.size_bytes, ref.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert await bus.get_blob(ref) == data
    assert peak < 1_500_000


async def test_a_blob_that_is_not_what_the_reference_says_is_refused(bus: Bus) -> None:
    ref = await bus.put_blob(b"real", name="a.txt", media_type="text/plain")
    with pytest.raises(LookupError, match="not the one"):
        await bus.get_blob(ref.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(LookupError, match="gone"):
        await bus.get_blob(ref.model_copy(update={"blob": "0" * 32}))


@pytest.mark.integration
async def test_the_bus_survives_the_servers_death(nats_server: NatsServer, bus: Bus) -> None:
    handler = Handled()
    consumer = asyncio.create_task(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, handler))
    followed: asyncio.Queue[str] = asyncio.Queue()

    async def follow() -> None:
        async for message in bus.replay(["airut.v1.event.service.>"]):
            followed.put_nowait(ServiceEvent.decode(message.data).code)

    follower = asyncio.create_task(follow())
    await send(bus, task_request())
    await handler.wait(1)
    event = ServiceEvent(service="x", at=utc_now(), level="info", code="before", text="")
    bus.publish_soon("airut.v1.event.service.x", event)
    assert await asyncio.wait_for(followed.get(), LIMIT) == "before"

    await nats_server.kill()
    bus.publish_soon("airut.v1.event.service.x", event.model_copy(update={"code": "during"}))
    with pytest.raises(BusUnavailable):
        await bus.publish("airut.v1.task.requested.demo", task_request(), timeout_seconds=0.5)
    await nats_server.start()

    await bus.publish("airut.v1.task.requested.demo", task_request(id="after"), timeout_seconds=LIMIT)
    async with asyncio.timeout(LIMIT):
        while "after" not in {request.id for request in handler.requests}:
            await handler.wait(len(handler.requests) + 1)
    assert await asyncio.wait_for(followed.get(), LIMIT) == "during"
    for task in (consumer, follower):
        task.cancel()
    await asyncio.gather(consumer, follower, return_exceptions=True)


async def test_no_server_is_said_in_time(monkeypatch) -> None:
    monkeypatch.setattr("airut_common.bus.connect.CONNECT_SECONDS", 0.5)
    with pytest.raises(BusUnavailable):
        async with open_bus("nats://127.0.0.1:1", name="x", nkey_seed_file=None):
            pass

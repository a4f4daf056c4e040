"""Keys, questions and large messages, on a server that is killed in between."""

import asyncio
from contextlib import aclosing

import pytest

from airut_common.bus import Bus, BusUnavailable, Endpoint, MessageTooLarge, open_bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import CONFIG_BUCKET, STATUS_BUCKET
from airut_common.contracts.v1 import CloseSession, Refused, ServiceEvent, SessionClosed, Usage, utc_now

LIMIT = 30
SUBJECT = "airut.v1.svc.egress.local.close"


async def test_a_key_is_created_once(bus: Bus) -> None:
    made = await asyncio.gather(*(bus.kv_create(STATUS_BUCKET, "lease", str(n).encode()) for n in range(5)))
    [revision] = [revision for revision in made if revision is not None]
    entry = await bus.kv_get(STATUS_BUCKET, "lease")
    assert entry is not None
    assert entry.revision == revision
    await bus.kv_delete(STATUS_BUCKET, "lease")
    await bus.kv_delete(STATUS_BUCKET, "never-there")
    assert await bus.kv_get(STATUS_BUCKET, "lease") is None
    assert await bus.kv_create(STATUS_BUCKET, "lease", b"again") is not None
    assert await bus.kv_create(STATUS_BUCKET, "lease", b"no") is None


async def test_an_empty_value_is_a_value(bus: Bus) -> None:
    await bus.kv_put(STATUS_BUCKET, "empty", b"")
    entry = await bus.kv_get(STATUS_BUCKET, "empty")
    assert entry is not None
    assert entry.value == b""


@pytest.mark.integration
async def test_a_watcher_hears_after_the_server_s_death_what_happened_meanwhile(
    nats_server: NatsServer, bus: Bus
) -> None:
    heard: asyncio.Queue[tuple[str, bytes | None] | None] = asyncio.Queue()

    async def watch() -> None:
        async with aclosing(bus.kv_watch(CONFIG_BUCKET)) as entries:
            async for entry in entries:
                heard.put_nowait(None if entry is None else (entry.key, entry.value))

    async def told() -> dict[str, bytes | None]:
        found = {}
        while (entry := await asyncio.wait_for(heard.get(), LIMIT)) is not None:
            found[entry[0]] = entry[1]
        return found

    await bus.kv_put(CONFIG_BUCKET, "a", b"1")
    await bus.kv_put(CONFIG_BUCKET, "b", b"1")
    task = asyncio.create_task(watch())
    assert await told() == {"a": b"1", "b": b"1"}
    await nats_server.kill()
    await nats_server.start()
    await bus.kv_put(CONFIG_BUCKET, "a", b"2")
    await bus.kv_delete(CONFIG_BUCKET, "b")
    found: dict[str, bytes | None] = {}
    while found != {"a": b"2", "b": None}:
        entry = await asyncio.wait_for(heard.get(), LIMIT)
        if entry is not None:
            found[entry[0]] = entry[1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_watchers_leave_no_subscription_and_a_consumer_that_forgets_itself(bus: Bus) -> None:
    await bus.stream_size("AIRUT_EVENTS")  # makes the one subscription for answers
    before = len(bus.client._subs)
    for _ in range(5):
        async with aclosing(bus.kv_watch(CONFIG_BUCKET)) as entries:
            async for entry in entries:
                assert entry is None
                break
    assert len(bus.client._subs) == before
    consumers = await bus._js.consumers_info(f"KV_{CONFIG_BUCKET}")
    assert {consumer.config.inactive_threshold for consumer in consumers} == {60}


def endpoint(handler) -> dict[str, Endpoint]:
    return {"close": Endpoint(SUBJECT, CloseSession, handler)}


async def ask(bus: Bus, sandbox: str = "s1", seconds: float = 10) -> SessionClosed | Refused:
    return await bus.request(SUBJECT, CloseSession(sandbox=sandbox), SessionClosed, timeout_seconds=seconds)


async def test_a_slow_answer_holds_up_no_other(bus: Bus) -> None:
    release = asyncio.Event()

    async def close(question: CloseSession) -> SessionClosed:
        if question.sandbox == "slow":
            await asyncio.wait_for(release.wait(), LIMIT)
        return SessionClosed(sandbox=question.sandbox)

    async with bus.serve("egress", endpoint(close)):
        slow = asyncio.create_task(ask(bus, "slow"))
        assert await ask(bus, "quick") == SessionClosed(sandbox="quick")
        assert not slow.done()
        release.set()
        assert await slow == SessionClosed(sandbox="slow")


async def test_a_service_answers_again_after_the_server_s_death(nats_server: NatsServer, bus: Bus) -> None:
    async def close(question: CloseSession) -> SessionClosed:
        return SessionClosed(sandbox=question.sandbox)

    async with open_bus(nats_server.url, name="asker", nkey_seed_file=None) as asker:
        async with bus.serve("egress", endpoint(close)):
            assert await ask(asker) == SessionClosed(sandbox="s1")
            await nats_server.kill()
            with pytest.raises(BusUnavailable):
                await ask(asker, seconds=0.3)
            await nats_server.start()
            async with asyncio.timeout(LIMIT):
                while True:
                    try:
                        assert await ask(asker, seconds=1) == SessionClosed(sandbox="s1")
                        break
                    except BusUnavailable:
                        await asyncio.sleep(0.05)


async def test_a_service_that_stops_while_the_server_is_away_ends_in_order(nats_server: NatsServer) -> None:
    async def close(question: CloseSession) -> SessionClosed:
        return SessionClosed(sandbox=question.sandbox)

    async with asyncio.timeout(LIMIT), open_bus(nats_server.url, name="x", nkey_seed_file=None) as bus:
        async with bus.serve("egress", endpoint(close)):
            await nats_server.kill()
            while bus.client.is_connected:
                await asyncio.sleep(0.01)


async def test_what_is_no_question_is_refused_and_what_is_no_answer_is_no_answer(bus: Bus) -> None:
    async def close(_: CloseSession) -> Usage:
        return Usage(duration_seconds=1)

    async with bus.serve("egress", endpoint(close)):
        answer = await bus.client.request(SUBJECT, b"{}", timeout=5)
        assert Refused.decode(answer.data).code == "bad_request"
        with pytest.raises(BusUnavailable):
            await ask(bus)


async def test_micro_tells_who_is_there(bus: Bus) -> None:
    async def close(question: CloseSession) -> SessionClosed:
        return SessionClosed(sandbox=question.sandbox)

    async with bus.serve("egress", endpoint(close)):
        ping = await bus.client.request("$SRV.PING.egress", b"", timeout=5)
        assert b'"name": "egress"' in ping.data or b'"name":"egress"' in ping.data


async def test_a_message_that_never_fits_is_said_at_once_and_holds_up_no_event(bus: Bus) -> None:
    huge = ServiceEvent(service="x", at=utc_now(), level="info", code="huge", text="x" * (9 * 1024 * 1024))
    with pytest.raises(MessageTooLarge):
        await bus.publish("airut.v1.event.service.x", huge, timeout_seconds=LIMIT)
    bus.publish_soon("airut.v1.event.service.x", huge)
    bus.publish_soon("airut.v1.event.service.x", huge.model_copy(update={"text": "small"}))
    assert await bus.flush_soon(LIMIT)
    assert await bus.stream_size("AIRUT_EVENTS") == 1


async def test_the_largest_message_that_a_contract_allows_fits(bus: Bus) -> None:
    event = ServiceEvent(service="x", at=utc_now(), level="info", code="big", text="\x01" * (1024 * 1024))
    await bus.publish("airut.v1.event.service.x", event)
    assert await bus.stream_size("AIRUT_EVENTS") == 1


@pytest.mark.integration
async def test_events_keep_their_order_through_the_server_s_death(nats_server: NatsServer, bus: Bus) -> None:
    def event(number: int) -> ServiceEvent:
        return ServiceEvent(service="x", at=utc_now(), level="info", code=str(number), text="")

    for number in range(3000):
        bus.publish_soon("airut.v1.event.service.x", event(number))
        if number == 1500:
            async with asyncio.timeout(LIMIT):
                while await bus.stream_size("AIRUT_EVENTS") < 100:
                    await asyncio.sleep(0)
            await nats_server.kill()
    await nats_server.start()
    assert await bus.flush_soon(LIMIT)
    codes = []
    async with asyncio.timeout(LIMIT):
        async for message in bus.replay(["airut.v1.event.service.x"]):
            codes.append(ServiceEvent.decode(message.data).code)
            if message.pending == 0:
                break
    assert list(dict.fromkeys(codes)) == [str(number) for number in range(3000)]
    assert len(codes) == 3000


async def test_what_is_listened_for_comes_as_it_is_published(bus: Bus) -> None:
    listening = bus.listen("airut.v1.event.service.*")
    heard = asyncio.create_task(anext(listening))
    event = ServiceEvent(service="x", at=utc_now(), level="info", code="ready", text="")
    async with asyncio.timeout(LIMIT):
        while not heard.done():
            await bus.publish("airut.v1.event.service.x", event)
    assert ServiceEvent.decode(heard.result()) == event
    await listening.aclose()

"""More than one sandbox may take (field notes 32, 35, 37)."""

import asyncio
import time
from dataclasses import replace

import pytest

from airut_egress.pace import Rates
from airut_egress.testing.clients import client, parse_answer, request
from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World, bearer_credential

from .attacking import HOST, LEAF, denied, is_reset


@pytest.mark.parametrize("two", [False, True])
async def test_row_35_a_denied_upload_is_answered_and_not_read(
    world: World, origin: Origin, two: bool
) -> None:
    sandbox = await world.sandbox("domains: [else.test]")
    sent = 0

    async def parts():
        nonlocal sent
        for _ in range(4096):
            sent += 65536
            yield b"x" * 65536

    async with client(sandbox, http2=two) as http:
        try:
            answer = await http.post("https://api.example.test/", content=parts())
            assert answer.status_code == 403
        except Exception as error:  # what a client makes of a reset while it sends is its own affair
            print(repr(error))
    assert sent < 32 * 1024 * 1024
    await denied(world, reason="host", bytes_out=0)


async def test_row_35_the_answer_to_a_denied_upload_arrives(world: World) -> None:
    sandbox = await world.sandbox("domains: [else.test]")
    reader, writer = await sandbox.open(HOST, 443)
    writer.write(f"POST / HTTP/1.1\r\n{LEAF}Content-Length: 100000000\r\n\r\n".encode() + b"x" * 100_000)
    answer = parse_answer(await reader.read())
    assert answer.status == 403
    assert b"connection: close" in answer.head.lower()
    writer.close()


async def test_row_35_too_many_connections_are_reset(world: World) -> None:
    sandbox = await world.sandbox()
    world.engine.reconfigure(replace(world.engine._settings, max_connections=5))
    kept = [await sandbox.dial(HOST, 443) for _ in range(5)]
    while len(sandbox.session.connections) < 5:
        await asyncio.sleep(0.01)
    assert await is_reset(sandbox, HOST, 443)
    await denied(world, "connection", reason="connections", host=HOST)
    for sock in kept:
        sock.close()


async def test_rows_35_and_37_a_flood_of_refusals_is_an_event_and_a_count(world: World) -> None:
    sandbox = await world.sandbox()
    for _ in range(200):
        assert await is_reset(sandbox, HOST, 22)
    assert await is_reset(sandbox, HOST, 23)
    sandbox.session.bursts.flush()
    events = [(event.reason, event.port) for event in world.recorder.of("connection")]
    assert events.count(("port", 22)) <= 2
    assert ("port", 23) in events
    assert len(events) < 10
    assert sandbox.session.totals.denied == 201


@pytest.mark.parametrize("two", [False, True])
async def test_row_35_requests_beyond_the_rate_wait_and_then_are_refused(
    world: World, origin: Origin, two: bool
) -> None:
    sandbox = await world.sandbox()
    world.engine.reconfigure(replace(world.engine._settings, rates=Rates(requests_per_second=1)))
    async with client(sandbox, http2=two) as http:
        answers = await asyncio.gather(*(http.get(f"https://{HOST}/") for _ in range(40)))
        refused = [answer for answer in answers if answer.status_code == 429]
        # Two at once, two within the seconds that a request waits, and what is filled up while they come.
        assert 10 <= len(refused) <= 36
        assert {answer.status_code for answer in answers} == {200, 429}
        assert {(answer.json()["obstacle"], answer.headers["retry-after"]) for answer in refused} == {
            ("rate", "1")
        }
    assert len(origin.seen) == 40 - len(refused)
    event = await denied(world, reason="rate", status=429, host=HOST)
    assert event.bytes_out == 0


async def test_row_35_bytes_beyond_the_rate_wait(world: World, origin: Origin) -> None:
    origin.respond = lambda _: Answer(body=b"x" * 1_600_000)
    sandbox = await world.sandbox()
    world.engine.reconfigure(replace(world.engine._settings, rates=Rates(bytes_per_second=400_000)))
    begun = time.monotonic()
    async with client(sandbox) as http:
        assert len((await http.get(f"https://{HOST}/")).content) == 1_600_000
    # Two seconds' worth at once, and one read may overdraw.
    assert time.monotonic() - begun > 1.0


async def test_row_37_hostile_text_is_cut_and_kept_as_data(world: World) -> None:
    sandbox = await world.sandbox("domains: [else.test]")
    await request(sandbox, target="/\x1b[31m<script>".replace("\x1b", "%1b") + "a" * 10_000, method="A" * 100)
    event = await denied(world)
    assert len(event.path) <= 2048
    assert len(event.method) <= 32


async def test_row_32_sessions_do_not_see_each_other(world: World, origin: Origin) -> None:
    one = await world.sandbox(credentials=[bearer_credential()])
    two = await world.sandbox(credentials=[bearer_credential("sk-ant-second0123456789abcdefgh")])
    assert one.environment["API_KEY"] != two.environment["API_KEY"]
    answer = await request(two, headers=f"Authorization: Bearer {one.environment['API_KEY']}\r\n")
    assert answer.status in {200, 403}
    assert b"REAL" not in bytes(origin.raw)
    assert Answer

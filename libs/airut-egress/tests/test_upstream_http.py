"""What a strange or hostile upstream answers over HTTP/1."""

import asyncio

import pytest

from airut_egress.testing.clients import client, exchange, parse_answer, request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World

FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answers(*parts: bytes):
    async def take_over(reader, writer, _head) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        await reader.read()

    return take_over


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
    ],
)
async def test_interim_answers_are_not_taken_for_the_final_one(
    world: World, origin: Origin, interim: bytes
) -> None:
    for parts in [(interim + FINAL,), (interim, FINAL), tuple(bytes([byte]) for byte in interim + FINAL)]:
        origin.take_over = answers(*parts)
        answer = await request(await world.sandbox())
        assert (answer.status, answer.body) == (200, b"ok")


async def test_row_35_a_head_without_end_is_given_up(world: World, origin: Origin) -> None:
    async def take_over(_reader, writer, _head) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()
            await asyncio.sleep(0)  # `drain` returns at once while nobody has told the writer of the reset

    origin.take_over = take_over
    answer = await request(await world.sandbox())
    assert answer.status == 502
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.decision == "error"


async def test_row_35_a_chunk_size_without_end_is_given_up(world: World, origin: Origin) -> None:
    async def take_over(_reader, writer, _head) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()
            await asyncio.sleep(0)  # `drain` returns at once while nobody has told the writer of the reset

    origin.take_over = take_over
    async with asyncio.timeout(20):
        await request(await world.sandbox())
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.decision == "error"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX y\r\n\r\n",
    ],
)
async def test_row_15_broken_answers_are_errors(world: World, origin: Origin, answer: bytes) -> None:
    origin.take_over = answers(answer)
    got = await request(await world.sandbox())
    assert got.status == 502
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.decision == "error"


async def test_an_answer_without_length_ends_with_its_connection(world: World, origin: Origin) -> None:
    async def take_over(_reader, writer, _head) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    origin.take_over = take_over
    sandbox = await world.sandbox()
    async with client(sandbox) as http:
        assert (await http.get("https://api.example.test/")).content == b"all of it"
    raw = await exchange(sandbox, b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
    assert parse_answer(raw).body == b"all of it"


async def test_what_an_upstream_says_unasked_is_not_an_answer(world: World, origin: Origin) -> None:
    """A second answer behind the first would be given to the next request."""
    origin.take_over = answers(FINAL + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    sandbox = await world.sandbox()
    async with client(sandbox) as http:
        first = await http.get("https://api.example.test/1")
        assert first.content == b"ok"
        second = await http.get("https://api.example.test/2")
        assert second.content == b"ok"


async def test_trailers_of_an_answer_stay_behind(world: World, origin: Origin) -> None:
    origin.take_over = answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    async with client(await world.sandbox()) as http:
        assert (await http.get("https://api.example.test/", headers={"te": "trailers"})).content == b"ok"


async def test_trailers_of_an_upload_stay_here(world: World, origin: Origin) -> None:
    head = b"POST / HTTP/1.1\r\nHost: api.example.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = await exchange(await world.sandbox(), head + b"2\r\nok\r\n0\r\nAuthorization: Bearer mine\r\n\r\n")
    assert parse_answer(raw).status == 200
    assert origin.seen[0].body == b"ok"
    assert b"mine" not in bytes(origin.raw)


async def test_row_35_one_sandbox_cannot_take_all_descriptors(
    world: World, origin: Origin, monkeypatch
) -> None:
    monkeypatch.setattr("airut_egress.interception.handler._MAX_UPSTREAMS", 2)
    sandbox = await world.sandbox()
    kept = []
    for _ in range(2):
        reader, writer = await sandbox.open("api.example.test", 443)
        writer.write(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
        await reader.readuntil(b"upstream")
        kept.append(writer)
    assert (await request(sandbox)).status == 503
    for writer in kept:
        writer.close()
    while sandbox.session.upstreams:
        await asyncio.sleep(0.01)
    assert (await request(sandbox)).status == 200

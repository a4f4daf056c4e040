"""Events never wait for the bus: they keep their order, or are counted as lost."""

import asyncio

import pytest

from airut_common.bus import BusUnavailable, MessageTooLarge
from airut_common.bus import soon as soon_module
from airut_common.bus.soon import SoonBuffer

LIMIT = 20


class Stream:
    """A stream that knows its messages' ids, and can be away or lose acknowledgements."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.fail: list[type[Exception]] = []
        self.lose_acknowledgements = 0

    async def store(self, _subject: str, data: bytes, msg_id: str) -> None:
        await asyncio.sleep(0)
        if self.fail:
            raise self.fail.pop(0)("away")
        self.stored.setdefault(msg_id, data)
        if self.lose_acknowledgements:
            self.lose_acknowledgements -= 1
            raise BusUnavailable("stored, but nobody knows")

    @property
    def order(self) -> list[bytes]:
        return list(self.stored.values())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> None:
    monkeypatch.setattr(soon_module, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(soon_module, "SLOWEST_RETRY_SECONDS", 0.002)


async def test_the_order_is_kept() -> None:
    stream = Stream()
    buffer = SoonBuffer(stream.store)
    sent = [str(n).encode() for n in range(1000)]
    assert all(buffer.put("s", data) for data in sent)
    assert await buffer.flush(LIMIT)
    assert stream.order == sent


async def test_what_was_lost_on_the_way_is_sent_again_and_stored_once() -> None:
    stream = Stream()
    stream.lose_acknowledgements = 5
    buffer = SoonBuffer(stream.store)
    sent = [str(n).encode() for n in range(200)]
    for data in sent:
        buffer.put("s", data)
    assert await buffer.flush(LIMIT)
    assert stream.order == sent


async def test_nothing_is_given_up_while_the_bus_is_away() -> None:
    stream = Stream()
    stream.fail = [BusUnavailable] * 128 * 5
    buffer = SoonBuffer(stream.store)
    for n in range(128):
        buffer.put("s", str(n).encode())
    assert await buffer.flush(LIMIT)
    assert len(stream.order) == 128


async def test_one_that_can_never_be_stored_stops_nothing() -> None:
    stream = Stream()
    stream.fail = [MessageTooLarge]
    buffer = SoonBuffer(stream.store)
    for data in (b"huge", b"next"):
        buffer.put("s", data)
    assert await buffer.flush(LIMIT)
    assert stream.order == [b"next"]


@pytest.mark.parametrize(("name", "limit", "fits"), [("CAPACITY", 3, 3), ("MAX_BYTES", 25, 2)])
async def test_a_full_buffer_drops_the_newest_and_counts(
    monkeypatch, name: str, limit: int, fits: int
) -> None:
    monkeypatch.setattr(soon_module, name, limit)
    stream = Stream()
    buffer = SoonBuffer(stream.store)
    taken = [buffer.put("s", b"ten bytes.") for _ in range(5)]
    assert taken == [True] * fits + [False] * (5 - fits)
    assert buffer.dropped == 5 - fits
    assert await buffer.flush(LIMIT)
    assert len(stream.order) == fits
    assert buffer.put("s", b"again")
    await buffer.close(LIMIT)


async def test_closing_does_not_wait_for_ever() -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    buffer = SoonBuffer(never)
    buffer.put("s", b"x")
    assert not await buffer.flush(0.01)
    await asyncio.wait_for(buffer.close(0.01), LIMIT)


async def test_a_flush_waits_for_what_came_before_it_and_for_nothing_else() -> None:
    stream = Stream()
    buffer = SoonBuffer(stream.store)
    talking = True

    async def talk() -> None:
        while talking:
            buffer.put("s", b"later")
            await asyncio.sleep(0)

    buffer.put("s", b"first")
    chatter = asyncio.create_task(talk())
    assert await buffer.flush(LIMIT)
    assert stream.order[0] == b"first"
    talking = False
    await chatter
    stream.fail = [BusUnavailable] * 10_000
    buffer.put("s", b"last")
    assert not await buffer.flush(0.05)
    stream.fail.clear()
    assert await buffer.flush(LIMIT)
    assert stream.order[-1] == b"last"

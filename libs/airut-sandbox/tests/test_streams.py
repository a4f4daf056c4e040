"""Lines out of chunks, in bounded memory. Field-notes row 44."""

import asyncio
import os

from hypothesis import given
from hypothesis import strategies as st

from airut_sandbox.streams import (
    CUT_MARK,
    STDERR_TAIL_BYTES,
    LineSplitter,
    Pipe,
    feed,
    open_reader,
    read_tail,
)


def _split(chunks: list[bytes], maximum: int) -> list[bytes]:
    splitter = LineSplitter(maximum)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + list(splitter.finish())


@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"a", b"\n")), max_size=20))
def test_however_it_is_cut_the_lines_are_the_same(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    lines = whole.split(b"\n")
    expected = lines if lines[-1] else lines[:-1]
    assert _split(chunks, 10_000) == expected


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 16))
def test_no_line_is_longer_than_allowed(chunks: list[bytes], maximum: int) -> None:
    whole = b"".join(chunks).split(b"\n")
    for line, original in zip(_split(chunks, maximum), whole, strict=False):
        assert line == (original if len(original) <= maximum else original[:maximum] + CUT_MARK)


def test_a_line_of_exactly_the_maximum_is_whole() -> None:
    assert _split([b"abcd", b"\nabcde\n"], 4) == [b"abcd", b"abcd" + CUT_MARK]


async def test_the_tail_is_kept() -> None:
    pipe = Pipe()
    transport = await feed(pipe, b"x" * 100_000 + b"the end")
    reader, reading = await open_reader(pipe)
    tail = await asyncio.wait_for(read_tail(reader), 5)
    reading.close()
    assert len(tail) == STDERR_TAIL_BYTES
    assert tail.endswith(b"xthe end")
    assert not transport.get_write_buffer_size()


async def test_a_reader_that_goes_away_is_no_error() -> None:
    pipe = Pipe()
    transport = await feed(pipe, b"x" * 1_000_000)
    pipe.close_read()
    async with asyncio.timeout(5):
        while transport.get_write_buffer_size():
            await asyncio.sleep(0)


def test_draining_does_not_wait() -> None:
    pipe = Pipe()
    assert pipe.drain() == b""
    os.write(pipe.write_end, b"word")
    assert pipe.drain() == b"word"
    pipe.close()
    pipe.close()

"""Messages between the service and its workers, and the socket they go over."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from airut_egress_proxy.workers.channel import Channel
from airut_egress_proxy.workers.frames import (
    ANSWER,
    EVENTS,
    MAX_BODY,
    QUESTION,
    BadFrame,
    Frame,
    FrameReader,
    encode,
)

FRAMES = [(QUESTION, b""), (ANSWER, b"x" * 700), (EVENTS, bytes(range(256)))]


@pytest.mark.parametrize("step", [1, 2, 5, 6, 7, 300, 10_000])
def test_frames_are_put_together_however_they_are_cut(step: int) -> None:
    data = b"".join(encode(kind, body) for kind, body in FRAMES)
    reader = FrameReader()
    found = [
        frame for begin in range(0, len(data), step) for frame in reader.feed(data[begin : begin + step])
    ]
    assert [(frame.kind, frame.body) for frame in found] == FRAMES


def test_each_frame_gets_its_own_descriptors() -> None:
    reader = FrameReader()
    first, second = encode(QUESTION, b"one", 2), encode(QUESTION, b"two", 1)
    assert list(reader.feed(first[:4], [10, 11])) == []
    found = list(reader.feed(first[4:] + second, [12]))
    assert [(frame.body, frame.descriptors) for frame in found] == [(b"one", [10, 11]), (b"two", [12])]


@pytest.mark.parametrize(
    "data",
    [
        (MAX_BODY + 1).to_bytes(4) + b"Q\x00",
        b"\xff" * 6,
        bytes(4) + b"Z\x00",
        bytes(4) + b"Q\x04",
        bytes(4) + b"Q\x01",
    ],
    ids=["too-long", "noise", "unknown-kind", "too-many-descriptors", "descriptors-missing"],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        list(FrameReader().feed(data))


def test_descriptors_that_nobody_announced_are_refused_and_closed() -> None:
    reader = FrameReader()
    given = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    with pytest.raises(BadFrame):
        list(reader.feed(encode(EVENTS, b""), given))
    reader.close()
    for descriptor in given:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_message_that_is_too_large_is_not_begun() -> None:
    with pytest.raises(ValueError, match="more than a worker takes"):
        encode(QUESTION, bytes(MAX_BODY + 1))


class End:
    """One side of a pair."""

    def __init__(self, sock: socket.socket) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.channel = Channel(sock, on_frame=self.frames.put_nowait, on_lost=self.lost.set)

    async def next(self) -> Frame:
        async with asyncio.timeout(10):
            return await self.frames.get()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_sockets_cross_and_nothing_is_left_open() -> None:
    before = descriptors()
    ours, theirs = (End(sock) for sock in socket.socketpair())
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        ours.channel.send(QUESTION, b"x" * 1_000_000)  # more than the kernel takes at once
        ours.channel.send(QUESTION, b"take these", [tcp, udp])
        address = tcp.getsockname()
    assert ours.channel.waiting_bytes > 0
    assert (await theirs.next()).body == b"x" * 1_000_000
    frame = await theirs.next()
    assert frame.body == b"take these"
    taken = [socket.socket(fileno=descriptor) for descriptor in frame.descriptors]
    assert taken[0].getsockname() == address, "though the sender has closed its own by now"
    assert not any(each.get_inheritable() for each in taken)
    assert [each.type & 0xF for each in taken] == [socket.SOCK_STREAM, socket.SOCK_DGRAM]
    for each in taken:
        each.close()
    assert ours.channel.waiting_bytes == 0
    ours.channel.close()
    async with asyncio.timeout(10):
        await theirs.lost.wait()
    assert not ours.lost.is_set()
    assert descriptors() == before


async def test_what_was_said_before_the_end_is_heard() -> None:
    ours, theirs = (End(sock) for sock in socket.socketpair())
    ours.channel.send(EVENTS, b"last words")
    ours.channel.close()
    assert (await theirs.next()).body == b"last words"
    async with asyncio.timeout(10):
        await theirs.lost.wait()
    theirs.channel.send(ANSWER, b"to nobody")


async def test_a_channel_ends_at_what_is_no_frame() -> None:
    raw, sock = socket.socketpair()
    with raw:
        end = End(sock)
        raw.send(b"\xff" * 64)
        async with asyncio.timeout(10):
            await end.lost.wait()
        assert end.frames.empty()

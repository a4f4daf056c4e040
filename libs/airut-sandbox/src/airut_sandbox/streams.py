"""The output of a sandbox in bounded memory, whatever it writes (field notes 44)."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
CUT_MARK: Final = b"[airut: the rest of this line was left out]"
STDERR_TAIL_BYTES: Final = 16 * 1024
_CHUNK_BYTES: Final = 64 * 1024


class LineSplitter:
    """Turns chunks into lines without their ends. A line over the maximum is cut and ends in `CUT_MARK`."""

    def __init__(self, maximum: int = MAX_LINE_BYTES) -> None:
        self._maximum = maximum
        self._line = bytearray()
        self._cut = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes."""
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            self._keep(part)
            yield self._take()
        self._keep(rest)

    def finish(self) -> Iterator[bytes]:
        """What came after the last line end, if anything did."""
        if self._line:
            yield self._take()

    def _keep(self, part: bytes) -> None:
        room = self._maximum - len(self._line)
        self._cut = self._cut or len(part) > room
        self._line += part[:room]

    def _take(self) -> bytes:
        line = bytes(self._line) + (CUT_MARK if self._cut else b"")
        self._line, self._cut = bytearray(), False
        return line


class Pipe:
    """A pipe whose one end a container holds and whose other end is ours."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def close_read(self) -> None:
        """Close the reading end, once."""
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1

    def close_write(self) -> None:
        """Close the writing end, once."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close whatever is open."""
        self.close_read()
        self.close_write()

    def drain(self) -> bytes:
        """What lies in the pipe now, 64 KiB at most; does not wait."""
        os.set_blocking(self.read_end, False)
        try:
            return os.read(self.read_end, _CHUNK_BYTES)
        except BlockingIOError:
            return b""


async def open_reader(pipe: Pipe) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """Read our end of a pipe; from now on the transport owns the descriptor."""
    reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe.read_end, "rb", buffering=0)
    )
    pipe.read_end = -1
    return reader, transport


async def pump_lines(reader: asyncio.StreamReader, on_line: Callable[[bytes], Awaitable[None]]) -> None:
    """Hand over line after line until the end. While `on_line` takes its time, the writer waits."""
    splitter = LineSplitter()
    while chunk := await reader.read(_CHUNK_BYTES):
        for line in splitter.feed(chunk):
            await on_line(line)
    for line in splitter.finish():
        await on_line(line)


async def read_tail(reader: asyncio.StreamReader) -> bytes:
    """Read to the end and keep the last 16 KiB."""
    tail = b""
    while chunk := await reader.read(_CHUNK_BYTES):
        tail = (tail + chunk)[-STDERR_TAIL_BYTES:]
    return tail


async def feed(pipe: Pipe, data: bytes) -> asyncio.WriteTransport:
    """Write `data` and then close, without waiting; a reader that goes away early is no error."""
    transport, _ = await asyncio.get_running_loop().connect_write_pipe(
        asyncio.BaseProtocol, os.fdopen(pipe.write_end, "wb", buffering=0)
    )
    pipe.write_end = -1
    transport.write(data)
    transport.close()
    return transport

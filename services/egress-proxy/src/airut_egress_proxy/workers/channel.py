"""A stream socket between the service and one worker. Neither side ever waits for the other."""

import array
import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from .frames import MAX_DESCRIPTORS, BadFrame, Frame, FrameReader, encode

_READ_BYTES: Final = 256 * 1024
_ITEM: Final = array.array("i").itemsize

log = structlog.get_logger()
OnFrame = Callable[[Frame], None]


class Channel:
    """Sends and receives frames, with descriptors. Belongs to one event loop."""

    def __init__(self, sock: socket.socket, *, on_frame: OnFrame, on_lost: Callable[[], None]) -> None:
        """Takes the socket over. `on_lost` is called once, when the other side is gone or sent what is no frame; not
        after `close`."""
        sock.setblocking(False)  # noqa: FBT003
        self._sock = sock
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._waiting: deque[tuple[memoryview, list[socket.socket]]] = deque()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)
        self.waiting_bytes = 0
        """Given to `send`, and not yet taken by the kernel."""

    def send(self, kind: bytes, body: bytes, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a message; copies of `sockets` go with it. On a closed channel nothing happens.

        Raises:
            ValueError: it is too large.
            OSError: a socket is closed.
        """
        data = encode(kind, body, len(sockets))
        if self._closed:
            return
        self._waiting.append((memoryview(data), [each.dup() for each in sockets]))
        self.waiting_bytes += len(data)
        if len(self._waiting) == 1:
            self._write()

    def hang_up(self) -> None:
        """Say that nothing more will be sent; what the other side still says is received."""
        if not self._closed:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up; what still waits is not sent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._reader.close()
        while self._waiting:
            _close(self._waiting.popleft()[1])
        self.waiting_bytes = 0

    def _write(self) -> None:
        try:
            while self._waiting:
                data, sockets = self._waiting[0]
                sent = self._sock.sendmsg([data], _ancillary(sockets))
                # The kernel took them with the first byte.
                _close(sockets)
                self.waiting_bytes -= sent
                if sent < len(data):
                    self._waiting[0] = (data[sent:], [])
                else:
                    self._waiting.popleft()
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._sock, self._write)
            return
        except OSError:
            # Reading goes on to the end of what the other side has said.
            while self._waiting:
                _close(self._waiting.popleft()[1])
            self.waiting_bytes = 0
        self._loop.remove_writer(self._sock)

    def _read(self) -> None:
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(
                _READ_BYTES, socket.CMSG_LEN((MAX_DESCRIPTORS + 1) * _ITEM), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, ancillary, flags = b"", [], 0
        descriptors = array.array("i")
        for level, kind, raw in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(raw[: len(raw) - len(raw) % _ITEM])
        if not data:
            self._lose()
            return
        try:
            for frame in self._reader.feed(data, descriptors):
                self._on_frame(frame)
                if self._closed:
                    return
            if flags & socket.MSG_CTRUNC:
                raise BadFrame("too many descriptors")
        except BadFrame as error:
            log.error("worker_channel_unreadable", reason=str(error))
            self._lose()

    def _lose(self) -> None:
        self.close()
        self._on_lost()


def _ancillary(sockets: Sequence[socket.socket]) -> list[tuple[int, int, array.array[int]]]:
    if not sockets:
        return []
    numbers = array.array("i", [each.fileno() for each in sockets])
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]


def _close(sockets: list[socket.socket]) -> None:
    while sockets:
        sockets.pop().close()

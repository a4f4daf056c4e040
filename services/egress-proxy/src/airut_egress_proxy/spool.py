"""Events on disk while the bus cannot take them: first in, first out, bounded, one JSON line each."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import structlog

MAX_BYTES: Final = 256 * 1024 * 1024
_READ_BYTES: Final = 1024 * 1024  # many times the longest event

log = structlog.get_logger()


class Spool:
    """A file that is appended to and read from its beginning. It is emptied when all of it has been read.

    Appending writes into the page cache and does not wait for the disk: what matters more than an event on a
    crashed host is that no request waits for it. After a restart a part may be told again; events have numbers.
    """

    def __init__(self, descriptor: int, max_bytes: int) -> None:
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._end = os.fstat(descriptor).st_size
        self._next = 0

    @classmethod
    def open(cls, path: Path, *, max_bytes: int = MAX_BYTES) -> Self:
        """Open or make the file (0600).

        Raises:
            OSError: it cannot be opened.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return cls(descriptor, max_bytes)

    @property
    def empty(self) -> bool:
        """Whether everything has been read."""
        return self._next >= self._end

    @property
    def waiting_bytes(self) -> int:
        """What has not been read."""
        return self._end - self._next

    def append(self, subject: str, data: bytes) -> bool:
        """Keep one event; False when there is no room for it."""
        line = json.dumps([subject, data.decode()]).encode() + b"\n"
        if self._end + len(line) > self._max_bytes:
            return False
        try:
            written = os.pwrite(self._descriptor, line, self._end)
        except OSError:
            return False
        if written != len(line):
            # The disk is full; the rest of the line is written over by the next one.
            return False
        self._end += written
        return True

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Events in order. One counts as read when the next is asked for."""
        while not self.empty:
            lines = os.pread(self._descriptor, _READ_BYTES, self._next).splitlines(keepends=True)
            if not lines or not lines[0].endswith(b"\n"):
                log.error("spool_unreadable", bytes=self._end - self._next)
                break
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                if (found := _decode(line)) is not None:
                    yield found
                self._next += len(line)
        self._next = self._end = 0
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Close the file. What has not been read stays in it."""
        os.close(self._descriptor)


def _decode(line: bytes) -> tuple[str, bytes] | None:
    try:
        subject, data = json.loads(line)
        return str(subject), str(data).encode()
    except (ValueError, TypeError):
        return None

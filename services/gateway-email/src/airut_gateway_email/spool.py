"""Mails on their way in: small ones in memory, large ones in files without a name, which end with their process."""

import asyncio
import io
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, Self, override

import structlog

from airut_gateway_email.errors import MailLater
from airut_mail_auth.message import PIECE_BYTES

IN_MEMORY_BYTES = 1024 * 1024
"""Larger mails go to the disk."""
WRITE_BYTES = 256 * 1024

log = structlog.get_logger()


class SpoolFile:
    """A private file that no folder lists. Reading has no position, so threads and processes may read at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @classmethod
    def make(cls, folder: Path) -> Self:
        """A new one, on the file system of `folder`.

        Raises:
            OSError: there is no room.
        """
        return cls(tempfile.TemporaryFile(dir=folder))

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """One that another process has made."""
        return cls(os.fdopen(descriptor, "r+b"))

    def fileno(self) -> int:
        """The descriptor, for a process that is to inherit it."""
        return self._file.fileno()

    def write(self, data: bytes | bytearray) -> None:
        """Add to its end; readers see it at once.

        Raises:
            OSError: there is no room.
        """
        self._file.write(data)
        self._file.flush()

    def reader(self, begin: int, end: int | None = None) -> BinaryIO:
        """A part of it as a file of its own, good even when this one has been closed."""
        return io.BufferedReader(_Part(os.dup(self._file.fileno()), begin, end), PIECE_BYTES)

    def pieces(self, begin: int = 0) -> Generator[bytes]:
        """All from `begin` on."""
        with self.reader(begin) as reader:
            while piece := reader.read(PIECE_BYTES):
                yield piece

    def close(self) -> None:
        """Give the room back."""
        try:
            self._file.close()
        except OSError as error:
            log.warning(
                "spool_not_closed", reason=str(error)
            )  # the rest of a write for which there was no room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class _Part(io.RawIOBase):
    def __init__(self, descriptor: int, begin: int, end: int | None) -> None:
        self._descriptor = descriptor
        self._at = begin
        self._end = end

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer) if self._end is None else min(len(buffer), self._end - self._at)
        count = os.preadv(self._descriptor, [memoryview(buffer)[:wanted]], self._at)
        self._at += count
        return count

    @override
    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class Incoming:
    """Takes one mail as it comes. Closing it gives back what it has taken."""

    def __init__(self, folder: Path) -> None:
        self.size_bytes = 0
        self._folder = folder
        self._held = bytearray()
        self._file: SpoolFile | None = None

    async def add(self, data: bytes) -> None:
        """Add to the mail.

        Raises:
            MailLater: there is no room.
        """
        self._held += data
        self.size_bytes += len(data)
        if len(self._held) > (IN_MEMORY_BYTES if self._file is None else WRITE_BYTES):
            await self._write()

    async def finish(self) -> bytes | SpoolFile:
        """The mail, until this is closed.

        Raises:
            MailLater: there is no room.
        """
        if self._file is None:
            return bytes(self._held)
        await self._write()
        return self._file

    def close(self) -> None:
        """Forget the mail, finished or not."""
        self._held = bytearray()
        if self._file is not None:
            self._file.close()

    async def _write(self) -> None:
        held, self._held = self._held, bytearray()
        try:
            if self._file is None:
                self._file = SpoolFile.make(self._folder)
            await asyncio.to_thread(self._file.write, held)
        except OSError as error:
            raise no_room(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def no_room(error: OSError) -> MailLater:
    """The answer when the disk takes no more."""
    log.error("mail_not_spooled", reason=str(error))
    return MailLater("there is no room for the mail at the moment; try again later", code=452, status="4.3.1")

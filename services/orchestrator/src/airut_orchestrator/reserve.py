"""Room set aside on the disk: when an agent has filled it, results and replies can still be written."""

import os
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

RESERVE_BYTES = 32 * 1024 * 1024

log = structlog.get_logger()


class Reserve:
    """A file that holds the room until it is needed."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size_bytes

    def take(self) -> None:
        """Set the room aside, if there is any and it is not set aside already."""
        if self._path.exists():
            return
        try:
            with self._path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError as error:
            log.warning("no_reserve", reason=str(error))
            self._path.unlink(missing_ok=True)

    def give_up(self) -> None:
        """The disk is full: this is what the room was for."""
        if self._path.exists():
            log.warning("reserve_given_up")
            self._path.unlink(missing_ok=True)


def is_disk_full(error: SQLAlchemyError) -> bool:
    """Whether the database could not be written for want of room."""
    return "database or disk is full" in str(error)

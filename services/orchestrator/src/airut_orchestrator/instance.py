"""One orchestrator per state folder: two would run each other's tasks twice and remove each other's containers."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds this state folder."""


@contextmanager
def only_instance(state: Path) -> Iterator[None]:
    """Hold the folder. The kernel lets go of it when the process dies, however it dies.

    Raises:
        AlreadyRunning: somebody else holds it.
    """
    descriptor = os.open(state / "orchestrator.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another orchestrator works in {state}") from None
        yield
    finally:
        os.close(descriptor)

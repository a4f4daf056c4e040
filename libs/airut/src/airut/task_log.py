"""`airut log TASK`: what the agent of a task wrote, from the state folder of this host."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from airut.console import visible
from airut.errors import UsageError
from airut.installation import Installation


def read_log(installation: Installation, task: str) -> Iterator[str]:
    """Lines, with everything that could steer a terminal made visible. That of a task that runs ends where it is now.

    Raises:
        UsageError: there is none here.
    """
    logs = installation.service_state("orchestrator") / "logs"
    # Compared, and not made into a path: an id comes from a terminal, and may be anything.
    found = [path for path in logs.glob("*/*.log*") if path.name.partition(".")[0] == task and task]
    found.sort(key=lambda path: int(path.name.split(".")[1]))
    if not found:
        raise UsageError(
            f"{task}: there is no log of such a task on this host; it may have gone with its conversation"
        )
    return (line for path in found for line in _lines(path))


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            yield visible(line.decode("utf-8", "replace").rstrip("\r\n"))

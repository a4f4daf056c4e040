"""Which replies went out, so that a redelivery does not go out twice; and how often each was tried."""

import os
from datetime import timedelta
from pathlib import Path

import structlog

KEPT = 20_000
FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=15)

log = structlog.get_logger()


class SentLedger:
    """Ids of sent replies in memory and in a file of this service, one a line, the newest `KEPT` of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().split() if path.exists() else []
        self._sent = dict.fromkeys(lines[-KEPT:])
        self._tries: dict[str, int] = {}
        if len(lines) > KEPT:
            replacement = path.with_suffix(".new")
            replacement.write_text("".join(f"{line}\n" for line in self._sent))
            replacement.replace(path)

    def __contains__(self, reply: str) -> bool:
        return reply in self._sent

    def sent(self, reply: str) -> None:
        """The relay took it. A ledger that cannot be written is logged: the mail is out, and stays known in memory."""
        self._sent[reply] = None
        self._tries.pop(reply, None)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{reply}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.error("ledger_not_written", reason=str(error))

    def next_try(self, reply: str) -> timedelta:
        """How long to wait after another failure: 5 s, doubled each time up to 15 min."""
        tries = self._tries[reply] = self._tries.get(reply, 0) + 1
        if len(self._tries) > KEPT:
            del self._tries[next(iter(self._tries))]
        return min(FIRST_RETRY * (1 << min(tries - 1, 10)), LONGEST_RETRY)

"""What the service keeps of its workers' sessions: whatever it takes to give one to another process."""

import asyncio
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from socket import socket
from typing import Final

import structlog

from airut_egress.dns import MAX_NAMES
from airut_egress.engine import UnknownToken
from airut_egress.entries import Credential
from airut_egress.progress import Continuation, Progress
from airut_egress.session import SessionConfig
from airut_egress_proxy.sink import Sandbox

from .messages import Moved

_MAX_CLOSED: Final = 256
"""Sessions that are over and may still have a late event."""

log = structlog.get_logger()


@dataclass(eq=False)
class Kept:
    """One session."""

    config: SessionConfig
    """As it was opened last."""
    worker: int
    """The number of the place that serves it."""
    current: tuple[Credential, ...]
    """What counts now."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    opened_at: float = field(default_factory=time.monotonic)
    open: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    sockets: tuple[socket, ...] = ()
    progress: Progress = field(default_factory=Progress)
    names: list[str] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One question at a time: they take effect in the order in which they were put."""

    @property
    def origin(self) -> Sandbox:
        """Whose events these are."""
        return self.config.repo, self.config.sandbox, self.config.task

    def continuation(self) -> Continuation:
        """What another process goes on from. A number is left out: the last events of the process before may be
        lost, and a gap says so."""
        events = self.progress.events + 1 if self.progress.events else 0
        return Continuation(
            self.token, self.environment, replace(self.progress, events=events), tuple(self.names)
        )

    def keep_sockets(self, sockets: tuple[socket, ...]) -> None:
        """These instead of those before, which are closed."""
        before, self.sockets = self.sockets, sockets
        for each in before:
            each.close()

    def note(self, moved: Moved) -> None:
        """It has got further."""
        if moved.progress is not None:
            self.progress = moved.progress
            self.names[moved.names_from :] = moved.names[: max(0, MAX_NAMES - moved.names_from)]


class Ledger:
    """All sessions, by sandbox."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self._closed: OrderedDict[str, Kept] = OrderedDict()

    def begin(self, config: SessionConfig, worker: int) -> Kept:
        """A session that is being opened. From now on it is there for those who change things."""
        kept = self.kept[config.sandbox] = Kept(config, worker, tuple(config.credentials))
        return kept

    def has(self, kept: Kept) -> bool:
        """Whether it has not been forgotten."""
        return self.kept.get(kept.config.sandbox) is kept

    def forget(self, kept: Kept) -> None:
        """It is over."""
        sandbox = kept.config.sandbox
        kept.keep_sockets(())
        if self.has(kept):
            del self.kept[sandbox]
        self._closed[sandbox] = kept
        self._closed.move_to_end(sandbox)
        while len(self._closed) > _MAX_CLOSED:
            self._closed.popitem(last=False)

    def by_token(self, token: str) -> Kept:
        """An open session.

        Raises:
            UnknownToken: none has this token.
        """
        given, found = token.encode(), None
        for kept in self.kept.values():
            if hmac.compare_digest(kept.token.encode(), given) and kept.open:
                found = kept
        if found is None:
            raise UnknownToken("no open session has this token")
        return found

    def of(self, worker: int) -> Iterator[Kept]:
        """The open sessions of a place; some may be forgotten while they are gone through."""
        return (kept for kept in tuple(self.kept.values()) if kept.worker == worker and kept.open)

    def counts(self) -> Counter[int]:
        """Sessions by place."""
        return Counter(kept.worker for kept in self.kept.values())

    def origin(self, worker: int, sandbox: str) -> Sandbox | None:
        """Whose event it is, as we know it and not as a worker says: it speaks for its own sandboxes alone."""
        kept = self.kept.get(sandbox) or self._closed.get(sandbox)
        if kept is None or kept.worker != worker:
            log.error("event_of_another", worker=worker)
            return None
        return kept.origin

    def note(self, worker: int, moved: Moved) -> None:
        """A session of a place has got further."""
        kept = self.kept.get(moved.sandbox)
        if kept is not None and kept.worker == worker:
            kept.note(moved)

"""`Engines` in processes of their own. The service keeps what it takes to give a session to another process."""

import asyncio
import hmac
import secrets
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog

from airut_common.contracts.v1 import EgressEvent
from airut_common.settings import LogFormat
from airut_egress.credentials import BadCredential
from airut_egress.dns import MAX_NAMES
from airut_egress.engine import Engine, EngineSettings, Opened, UnknownToken
from airut_egress.engines import EnginesUnavailable, Held
from airut_egress.entries import Credential
from airut_egress.progress import Continuation, Progress, Totals
from airut_egress.session import SessionConfig
from airut_egress_proxy.sink import EncodedSink, Sandbox

from .batches import read_events, read_head
from .messages import Answer, Ask, Attach, Close, Moved, Open, Reconfigure, Replace, Start, wrap
from .placement import Load, choose
from .process import WorkerLost, WorkerProcess
from .slot import Deadlines, Slot

_PATIENCE_SECONDS: Final = 20.0
"""For a question, over all the processes that are asked."""
_MAX_CLOSED: Final = 256
"""Sessions that are over and may still have a late event."""

log = structlog.get_logger()


@dataclass(eq=False)
class Kept:
    """A session, as the service keeps it."""

    config: SessionConfig
    """As it was opened last."""
    slot: Slot
    current: tuple[Credential, ...]
    """What counts now."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    opened_at: float = field(default_factory=time.monotonic)
    open: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    sockets: tuple[socket.socket, ...] = ()
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

    def keep_sockets(self, sockets: tuple[socket.socket, ...]) -> None:
        """These instead of those before."""
        before, self.sockets = self.sockets, sockets
        for each in before:
            each.close()


class WorkerPool:
    """Implements `Engines`, while `running`."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        workers: int,
        sink: EncodedSink,
        installation_key: bytes,
        state_dir: Path,
        log_format: LogFormat,
        log_level: str,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Args: as for `Engine`, and how many processes there are.

        Raises:
            ValueError: an address, a network or the CA file in the settings cannot be used.
            OSError: the folder cannot be used.
        """
        # It serves nobody: it makes the authority before several processes want to, and judges settings.
        self._judge = Engine(settings, sink=_Nobody(), installation_key=installation_key, state_dir=state_dir)
        self._start = Start(
            settings=settings,
            installation_key=installation_key.hex(),
            state_dir=state_dir,
            log_format=log_format,
            log_level=log_level,
        )
        self._sink = sink
        self._kept: dict[str, Kept] = {}
        self._closed: OrderedDict[str, Kept] = OrderedDict()
        self._slots = [Slot(number, self, deadlines or Deadlines()) for number in range(workers)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the workers and do not wait for them; they end with the context."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(slot.run(), name=f"worker {slot.number}") for slot in self._slots]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._judge.close_all()

    @property
    def pids(self) -> list[int | None]:
        """The processes; None for one that is not up."""
        return [slot.pid for slot in self._slots]

    def slot_of(self, sandbox: str) -> int:
        """The number of the worker that has a session."""
        return self._kept[sandbox].slot.number

    # -- Engines ------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Mapping[str, Held]:
        """Open ones and those that are being opened."""
        return self._kept

    async def open(self, config: SessionConfig) -> Opened:
        """See `Engines`."""
        while True:
            kept = self._kept.get(config.sandbox)
            if kept is None:
                kept = Kept(config, self._slots[choose(self._loads())], tuple(config.credentials))
                # From now on a change of credentials reaches it: it waits for its turn.
                self._kept[config.sandbox] = kept
            async with kept.lock:
                if self._kept.get(config.sandbox) is kept:
                    return await self._open(kept, config)

    async def attach(
        self, token: str, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None
    ) -> None:
        """See `Engines`."""
        kept = self._by_token(token)
        sockets = (tcp, udp) if tcp6 is None else (tcp, udp, tcp6)
        async with kept.lock:
            if self._kept.get(kept.config.sandbox) is not kept:
                raise UnknownToken("the session was closed meanwhile")
            await self._ask(kept.slot, lambda: Attach(token=kept.token), sockets)
            kept.keep_sockets(sockets)

    async def replace_credentials(self, sandbox: str, credentials: Sequence[Credential]) -> None:
        """See `Engines`."""
        kept = self._kept.get(sandbox)
        if kept is None:
            return
        async with kept.lock:
            if self._kept.get(sandbox) is not kept:
                return
            before = kept.current
            # From this moment no other process is given what was taken away, whatever becomes of the question.
            kept.current = tuple(credentials)
            try:
                await self._ask(kept.slot, lambda: _replacing(kept, kept.current))
            except BadCredential:
                kept.current = before
                await self._ask(kept.slot, lambda: _replacing(kept, before))
                raise

    async def reconfigure(self, settings: EngineSettings) -> None:
        """See `Engines`."""
        self._judge.reconfigure(settings)
        self._start = self._start.model_copy(update={"settings": settings})
        told = await asyncio.gather(
            *(self._ask(slot, lambda: Reconfigure(settings=settings)) for slot in self._slots),
            return_exceptions=True,
        )
        for failure in told:
            # Who could not be asked is being replaced by a process that begins with these settings.
            if isinstance(failure, BaseException) and not isinstance(failure, EnginesUnavailable):
                raise failure

    async def close(self, sandbox: str) -> Totals:
        """See `Engines`; a session whose worker cannot be asked is over all the same."""
        kept = self._kept.get(sandbox)
        if kept is None:
            return Totals()
        async with kept.lock:
            if self._kept.get(sandbox) is not kept:
                return Totals()
            try:
                return (await self._ask(kept.slot, lambda: Close(sandbox=sandbox))).totals
            except EnginesUnavailable:
                return kept.progress.totals
            finally:
                self._forget(kept)

    async def close_all(self) -> None:
        """See `Engines`."""
        await asyncio.gather(*(self.close(sandbox) for sandbox in tuple(self._kept)))

    # -- what places ask for ------------------------------------------------------------------------------

    def start_question(self) -> Start:
        """See `Owner`."""
        return self._start

    async def restore(self, slot: Slot, process: WorkerProcess) -> None:
        """See `Owner`."""
        for kept in [kept for kept in self._kept.values() if kept.slot is slot and kept.open]:
            try:
                await self._restore(kept, process)
            except WorkerLost:
                raise
            except Exception as error:  # noqa: BLE001 (the others go on)
                log.error("session_lost", sandbox=kept.config.sandbox, reason=str(error))
                self._forget(kept)
            if self._kept.get(kept.config.sandbox) is not kept:
                await process.ask(Close(sandbox=kept.config.sandbox), seconds=_PATIENCE_SECONDS)
        await process.ask(Reconfigure(settings=self._start.settings), seconds=_PATIENCE_SECONDS)

    async def _restore(self, kept: Kept, process: WorkerProcess) -> None:
        async def ask(ask: Ask, sockets: Sequence[socket.socket] = ()) -> None:
            await process.ask(ask, sockets, seconds=_PATIENCE_SECONDS)

        # With what it was opened with at first: the sandbox has surrogates of that, and those of what was taken away
        # since have to be refused, not to be unknown.
        await ask(Open.of(kept.config, kept.continuation()))
        try:
            await ask(_replacing(kept, kept.current))
        except BadCredential:
            # Whoever asked for these is told so in a moment, and the earlier ones are put back.
            await ask(_replacing(kept, ()))
        if kept.sockets:
            await ask(Attach(token=kept.token), kept.sockets)
        log.info("session_resumed", sandbox=kept.config.sandbox, worker=kept.slot.number)

    def take_events(self, slot: Slot, body: bytes) -> None:
        """See `Owner`."""
        head, events = read_head(body)
        slot.connections = head.connections
        for sandbox, number, encoded in read_events(events):
            if (origin := self._origin(slot, sandbox)) is not None:
                self._sink.record_encoded(origin, number, encoded)
        for moved in head.moved:
            self._note(slot, moved)

    # -- inside -------------------------------------------------------------------------------------------

    async def _open(self, kept: Kept, config: SessionConfig) -> Opened:
        try:
            answer = await self._ask(kept.slot, lambda: Open.of(config, kept.continuation()))
        except BaseException:
            if not kept.open:
                self._forget(kept)
            raise
        kept.config, kept.current = config, tuple(config.credentials)
        kept.environment, kept.open = answer.environment, True
        return Opened(config.sandbox, kept.token, answer.environment, answer.ca_certificate)

    async def _ask(
        self, slot: Slot, make: Callable[[], Ask], sockets: Sequence[socket.socket] = ()
    ) -> Answer:
        """Ask, and once more when the process was lost over it: not again and again, if that is why."""
        reason = "no worker is up"
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for _ in range(2):
                    try:
                        return await slot.ask(make, sockets)
                    except WorkerLost as lost:
                        reason = str(lost)
        raise EnginesUnavailable(f"the network of sandboxes is not available: {reason}; try again")

    def _loads(self) -> list[Load]:
        sessions = Counter(kept.slot.number for kept in self._kept.values())
        return [Load(sessions[slot.number], slot.connections, slot.failing) for slot in self._slots]

    def _by_token(self, token: str) -> Kept:
        given, found = token.encode(), None
        for kept in self._kept.values():
            if hmac.compare_digest(kept.token.encode(), given) and kept.open:
                found = kept
        if found is None:
            raise UnknownToken("no open session has this token")
        return found

    def _forget(self, kept: Kept) -> None:
        sandbox = kept.config.sandbox
        kept.keep_sockets(())
        if self._kept.get(sandbox) is kept:
            del self._kept[sandbox]
        self._closed[sandbox] = kept
        self._closed.move_to_end(sandbox)
        while len(self._closed) > _MAX_CLOSED:
            self._closed.popitem(last=False)

    def _origin(self, slot: Slot, sandbox: str) -> Sandbox | None:
        """Whose event it is, as we know it and not as a worker says: it speaks for its own sandboxes alone."""
        kept = self._kept.get(sandbox) or self._closed.get(sandbox)
        if kept is None or kept.slot is not slot:
            log.error("event_of_another", worker=slot.number)
            return None
        return kept.origin

    def _note(self, slot: Slot, moved: Moved) -> None:
        if (origin := self._origin(slot, moved.sandbox)) is None:
            return
        kept = self._kept.get(moved.sandbox)
        if kept is not None and moved.progress is not None:
            kept.progress = moved.progress
            kept.names[moved.names_from :] = moved.names[: max(0, MAX_NAMES - moved.names_from)]
        if moved.dropped:
            last = moved.progress.events - 1 if moved.progress is not None else 0
            self._sink.count_dropped(origin, moved.dropped, last)


class _Nobody:
    def record(self, event: EgressEvent) -> None:
        """An engine without sessions has no events."""


def _replacing(kept: Kept, credentials: Iterable[Credential]) -> Replace:
    return Replace(sandbox=kept.config.sandbox, credentials=wrap(credentials))

"""`Engines` in processes of their own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from airut_common.contracts.v1 import EgressEvent
from airut_common.settings import LogFormat
from airut_egress.credentials import BadCredential
from airut_egress.engine import Engine, EngineSettings, Opened, UnknownToken
from airut_egress.engines import EnginesUnavailable, Held
from airut_egress.entries import Credential
from airut_egress.progress import Totals
from airut_egress.session import SessionConfig
from airut_egress_proxy.sink import EncodedSink

from .batches import read_events, read_head
from .ledger import Kept, Ledger
from .messages import Answer, Ask, Attach, Close, Open, Reconfigure, Replace, ReplacePolicy, Start, wrap
from .placement import Load, choose
from .process import WorkerLost, WorkerProcess
from .slot import Deadlines, Slot

_PATIENCE_SECONDS: Final = 20.0
"""For a question, over all the processes that are asked."""

log = structlog.get_logger()


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
        self._ledger = Ledger()
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
        return self._ledger.kept[sandbox].worker

    # -- Engines ------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Mapping[str, Held]:
        """Open ones and those that are being opened."""
        return self._ledger.kept

    async def open(self, config: SessionConfig) -> Opened:
        """See `Engines`."""
        while True:
            kept = self._ledger.kept.get(config.sandbox)
            if kept is None:
                kept = self._ledger.begin(config, choose(self._loads()))
            async with kept.lock:
                if self._ledger.has(kept):
                    return await self._open(kept, config)

    async def attach(
        self, token: str, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None
    ) -> None:
        """See `Engines`."""
        kept = self._ledger.by_token(token)
        sockets = (tcp, udp) if tcp6 is None else (tcp, udp, tcp6)
        async with kept.lock:
            if not self._ledger.has(kept):
                raise UnknownToken("the session was closed meanwhile")
            await self._ask(self._slots[kept.worker], lambda: Attach(token=kept.token), sockets)
            kept.keep_sockets(sockets)

    async def replace_policy(self, sandbox: str, policy: str, source: str) -> None:
        """See `Engines`."""
        kept = self._ledger.kept[sandbox]
        async with kept.lock:
            if not (self._ledger.has(kept) and kept.open):
                raise KeyError(sandbox)
            await self._ask(
                self._slots[kept.worker],
                lambda: ReplacePolicy(sandbox=sandbox, policy=policy, policy_source=source),
            )
            kept.config = replace(kept.config, policy=policy, policy_source=source)

    async def replace_credentials(self, sandbox: str, credentials: Sequence[Credential]) -> None:
        """See `Engines`."""
        kept = self._ledger.kept.get(sandbox)
        if kept is None:
            return
        async with kept.lock:
            if not self._ledger.has(kept):
                return
            before = kept.current
            # From this moment no other process is given what was taken away, whatever becomes of the question.
            kept.current = tuple(credentials)
            try:
                await self._ask(self._slots[kept.worker], lambda: _replacing(kept, kept.current))
            except BadCredential:
                kept.current = before
                await self._ask(self._slots[kept.worker], lambda: _replacing(kept, before))
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
        kept = self._ledger.kept.get(sandbox)
        if kept is None:
            return Totals()
        async with kept.lock:
            if not self._ledger.has(kept):
                return Totals()
            try:
                return (await self._ask(self._slots[kept.worker], lambda: Close(sandbox=sandbox))).totals
            except EnginesUnavailable:
                return kept.progress.totals
            finally:
                self._ledger.forget(kept)

    async def close_all(self) -> None:
        """See `Engines`."""
        await asyncio.gather(*(self.close(sandbox) for sandbox in tuple(self._ledger.kept)))

    # -- what places ask for ------------------------------------------------------------------------------

    def start_question(self) -> Start:
        """See `Owner`."""
        return self._start

    async def restore(self, slot: Slot, process: WorkerProcess) -> None:
        """See `Owner`."""
        for kept in self._ledger.of(slot.number):
            try:
                await self._restore(kept, process)
            except WorkerLost:
                raise
            except Exception as error:  # noqa: BLE001 (the others go on)
                log.error("session_lost", sandbox=kept.config.sandbox, reason=str(error))
                self._ledger.forget(kept)
            if not self._ledger.has(kept):
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
        log.info("session_resumed", sandbox=kept.config.sandbox, worker=kept.worker)

    def take_events(self, slot: Slot, body: bytes) -> None:
        """See `Owner`."""
        head, events = read_head(body)
        slot.connections = head.connections
        for sandbox, number, encoded in read_events(events):
            if (origin := self._ledger.origin(slot.number, sandbox)) is not None:
                self._sink.record_encoded(origin, number, encoded)
        for moved in head.moved:
            self._ledger.note(slot.number, moved)
            if moved.dropped and (origin := self._ledger.origin(slot.number, moved.sandbox)) is not None:
                last = moved.progress.events - 1 if moved.progress is not None else 0
                self._sink.count_dropped(origin, moved.dropped, last)

    # -- inside -------------------------------------------------------------------------------------------

    async def _open(self, kept: Kept, config: SessionConfig) -> Opened:
        try:
            answer = await self._ask(self._slots[kept.worker], lambda: Open.of(config, kept.continuation()))
        except BaseException:
            if not kept.open:
                self._ledger.forget(kept)
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
        sessions = self._ledger.counts()
        return [Load(sessions[slot.number], slot.connections, slot.failing) for slot in self._slots]


class _Nobody:
    def record(self, event: EgressEvent) -> None:
        """An engine without sessions has no events."""


def _replacing(kept: Kept, credentials: Iterable[Credential]) -> Replace:
    return Replace(sandbox=kept.config.sandbox, credentials=wrap(credentials))

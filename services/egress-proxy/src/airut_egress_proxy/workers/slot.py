"""A place in the pool: one worker process, started anew whenever it ends."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socket import socket
from typing import Final, Protocol

import structlog

from .failures import WorkerFailed
from .messages import Answer, Ask, Attach, Close, Ping, Start
from .process import WorkerLost, WorkerProcess

_STEADY_SECONDS: Final = 30.0
"""Who has lived for so long may be started again at once."""
_SLOWEST_SECONDS: Final = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a worker may take, seconds."""

    answer: float = 4.0
    """Below what an orchestrator waits for (5 s), so that what it asks again meets a new process."""
    start: float = 30.0
    ping: float = 5.0
    """Between two questions whether it is still there."""
    silence: float = 15.0
    """For the answer to those. Nobody waits for it, and being busy is no reason to cut what others have under way."""


class Owner(Protocol):
    """The pool, as its places see it."""

    def start_question(self) -> Start:
        """What a new process is told first."""

    async def restore(self, slot: "Slot", process: WorkerProcess) -> None:
        """Give a new process the sessions of this place."""

    def take_events(self, slot: "Slot", body: bytes) -> None:
        """Take a batch in."""


class Slot:
    """Runs until it is cancelled."""

    def __init__(self, number: int, owner: Owner, deadlines: Deadlines) -> None:
        self.number = number
        self.connections = 0
        """Open ones, as the process last told."""
        self.failing = False
        """Whether the last process did not come up."""
        self.pid: int | None = None
        """Of the process, while it is up."""
        self._came_up = False
        self._owner = owner
        self._deadlines = deadlines
        self._process: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()

    async def ask(self, make: Callable[[], Ask], sockets: Sequence[socket] = ()) -> Answer:
        """Ask the process, as soon as it is up and has its sessions; what is asked is made then.

        Raises:
            WorkerLost: it ended before it answered; another one is on its way.
            Exception: as the engine raised it.
        """
        future = self._process
        process = await asyncio.shield(future)
        ask = make()
        # Connections are given a moment to end.
        seconds = self._deadlines.answer * (2 if isinstance(ask, Attach | Close) else 1)
        try:
            return await process.ask(ask, sockets, seconds=seconds)
        except WorkerLost:
            self._await_another(future)
            raise

    async def run(self) -> None:
        """Keep a process alive."""
        delay = 0.0
        while True:
            begun, self._came_up = time.monotonic(), False
            try:
                await self._serve()
            except Exception as error:
                # Who was up is expected to come up again.
                self.failing = not self._came_up
                expected = isinstance(error, WorkerLost | WorkerFailed | OSError | ValueError)
                log.error(
                    "worker_lost", worker=self.number, reason=str(error), exc_info=None if expected else error
                )
            if time.monotonic() - begun > _STEADY_SECONDS:
                delay = 0.0
            await asyncio.sleep(delay)
            delay = min(max(2 * delay, 0.1), _SLOWEST_SECONDS)

    async def _serve(self) -> None:
        process = await WorkerProcess.spawn(self.number, lambda body: self._owner.take_events(self, body))
        try:
            await process.ask(self._owner.start_question(), seconds=self._deadlines.start)
            await self._owner.restore(self, process)
            self.failing, self._came_up = False, True
            self.pid = process.pid
            log.info("worker_ready", worker=self.number, pid=process.pid)
            self._process.set_result(process)
            await self._watch(process)
        finally:
            self._await_another(self._process)
            self.pid = None
            self.connections = 0
            await process.end()

    def _await_another(self, process: asyncio.Future[WorkerProcess]) -> None:
        """Whoever asks from now on waits for the next one."""
        if self._process is process and process.done():
            self._process = asyncio.get_running_loop().create_future()

    async def _watch(self, process: WorkerProcess) -> None:
        """Until it is lost; one that hangs is found out."""
        while True:
            try:
                async with asyncio.timeout(self._deadlines.ping):
                    await process.lost.wait()
            except TimeoutError:
                await process.ask(Ping(), seconds=self._deadlines.silence)
            else:
                raise WorkerLost("the process has ended")

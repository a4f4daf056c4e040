"""One worker process, as the service sees it: started, asked, ended."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final, Self

import structlog
from pydantic import ValidationError

from .batches import BadBatch
from .channel import Channel
from .failures import raise_failure
from .frames import ANSWER, EVENTS, QUESTION, BadFrame, Frame
from .messages import Answer, Ask, Question

_END_SECONDS: Final = 5.0
_MODULE: Final = "airut_egress_proxy.workers"

log = structlog.get_logger()
OnEvents = Callable[[bytes], None]
"""Takes the body of a batch."""


class WorkerLost(Exception):
    """The process has ended, or was ended because it did not answer."""


class WorkerProcess:
    """Made by `spawn`; ended by `end`."""

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, sock: socket.socket, on_events: OnEvents
    ) -> None:
        self._number = number
        self._process = process
        self._on_events = on_events
        self._asked = 0
        self._answered = False
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._channel = Channel(sock, on_frame=self._take, on_lost=self._lose)
        self.lost = asyncio.Event()
        """Set when nothing more will come from it."""

    @classmethod
    async def spawn(cls, number: int, on_events: OnEvents) -> Self:
        """Start a process. It can be asked at once, and answers when it is up.

        Raises:
            OSError: it could not be started.
        """
        # -P: what lies in the working folder is no code of ours.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(os.getpid()), str(number),
                    pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, env=_environment(),
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        return cls(number, process, ours, on_events)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def ask(self, ask: Ask, sockets: Sequence[socket.socket] = (), *, seconds: float) -> Answer:
        """Ask, and wait for the answer. Whoever does not answer in time is killed: what it does is not known.

        Raises:
            WorkerLost: there will be no answer.
            Exception: as the engine raised it.
        """
        if self.lost.is_set():
            raise WorkerLost(f"worker {self._number} has ended")
        self._asked += 1
        number = self._asked
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(QUESTION, Question(number=number, ask=ask).model_dump_json().encode(), sockets)
            async with asyncio.timeout(seconds):
                found: Answer = await answer
        except TimeoutError:
            log.error("worker_silent", worker=self._number, asked=ask.kind, seconds=seconds)
            self._kill()
            raise WorkerLost(f"worker {self._number} did not answer within {seconds:g} s") from None
        finally:
            self._open.pop(number, None)
        if found.failure is not None:
            raise_failure(found.failure)
        return found

    async def end(self) -> None:
        """Hang up, and return when the process is gone; what it has said before is taken in first."""
        if not self._answered:
            self._kill()  # it has done nothing yet, and may take a while until it reads
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                # The last events of a process that was killed are still in the socket.
                if self._process.returncode is None and not self.lost.is_set():
                    self._channel.hang_up()
                await self.lost.wait()
                await self._process.wait()
        self._kill()
        self._channel.close()
        self._lose()
        await self._process.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _take(self, frame: Frame) -> None:
        for descriptor in frame.descriptors:
            os.close(descriptor)  # a worker has none to give
        try:
            if frame.kind == EVENTS:
                self._on_events(frame.body)
            elif frame.kind == ANSWER:
                self._take_answer(Answer.model_validate_json(frame.body))
            else:
                raise BadFrame("a worker asks nothing")
        except (BadBatch, BadFrame, ValidationError) as error:
            log.error("worker_unreadable", worker=self._number, error=type(error).__name__)
            self._kill()

    def _take_answer(self, answer: Answer) -> None:
        self._answered = True
        asked = self._open.get(answer.number)
        if asked is not None and not asked.done():
            asked.set_result(answer)

    def _lose(self) -> None:
        self.lost.set()
        for asked in self._open.values():
            if not asked.done():
                asked.set_exception(WorkerLost(f"worker {self._number} has ended"))


def _environment() -> dict[str, str]:
    """What the service was told about the bus and about collectors is not for workers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRUT_", "OTEL_"))}

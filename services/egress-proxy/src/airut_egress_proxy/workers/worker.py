"""What a worker does with what it is asked: one engine, and an answer to each question."""

import asyncio
import socket
from collections.abc import Iterable

import structlog
from pydantic import ValidationError

from airut_common import log as logs
from airut_common.config.yamlfile import ConfigError
from airut_common.secrets import Secret
from airut_egress.credentials import BadCredential
from airut_egress.engine import Engine, UnknownToken
from airut_egress.entries import Credential, UnusableCredential

from .channel import Channel
from .frames import ANSWER, QUESTION, Frame
from .messages import (
    Answer,
    Ask,
    Attach,
    Close,
    Failure,
    Open,
    Ping,
    Question,
    Reconfigure,
    Replace,
    ReplacePolicy,
    Start,
    unwrap,
)
from .outbox import Outbox

log = structlog.get_logger()


class Worker:
    """One for a process. It serves until the service hangs up."""

    def __init__(self, sock: socket.socket) -> None:
        self._gone = asyncio.Event()
        self._channel = Channel(sock, on_frame=self._take, on_lost=self._gone.set)
        self._outbox = Outbox(self._channel, lambda: self._engine.sessions if self._engine else {})
        self._engine: Engine | None = None
        self._redacted: dict[str, set[Secret]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Return when the service has hung up. Nothing is tidied up: whoever could be told of it is gone."""
        looking = asyncio.get_running_loop().create_task(self._outbox.run(), name="outbox")
        try:
            await self._gone.wait()
        finally:
            looking.cancel()
            self._channel.close()

    def _take(self, frame: Frame) -> None:
        sockets = [socket.socket(fileno=descriptor) for descriptor in frame.descriptors]
        if frame.kind != QUESTION:
            log.error("unexpected_frame")
            self._gone.set()
            return
        try:
            question = Question.model_validate_json(frame.body)
        except ValidationError as error:
            # It hides its input, which may be a credential.
            log.error("unreadable_question", problems=error.error_count())
            self._gone.set()
            return
        task = asyncio.get_running_loop().create_task(self._answer(question, sockets), name=question.ask.kind)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, question: Question, sockets: list[socket.socket]) -> None:
        try:
            answer = await self._do(question.ask, sockets)
        except Exception as error:  # noqa: BLE001 (the service decides what to make of it)
            for each in sockets:
                each.close()
            answer = Answer(number=0, failure=_failure(error))
        self._outbox.flush()
        self._channel.send(
            ANSWER, answer.model_copy(update={"number": question.number}).model_dump_json().encode()
        )

    async def _do(self, ask: Ask, sockets: list[socket.socket]) -> Answer:
        match ask:
            case Start():
                self._start(ask)
            case Open():
                return self._open(ask)
            case Attach():
                await self._running.attach(ask.token, *sockets)
            case ReplacePolicy():
                self._running.replace_policy(ask.sandbox, ask.policy, ask.policy_source)
            case Replace():
                credentials = unwrap(ask.credentials)
                self._redact(ask.sandbox, credentials)
                self._running.replace_credentials(ask.sandbox, credentials)
            case Reconfigure():
                self._running.reconfigure(ask.settings)
            case Close():
                totals = await self._running.close(ask.sandbox)
                logs.forget(*self._redacted.pop(ask.sandbox, ()))
                return Answer(number=0, totals=totals)
            case Ping():
                pass
        return Answer(number=0)

    @property
    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("asked before the start")
        return self._engine

    def _start(self, ask: Start) -> None:
        logs.configure_logging("egress-proxy", log_format=ask.log_format, level=ask.log_level)
        self._engine = Engine(
            ask.settings,
            sink=self._outbox,
            installation_key=bytes.fromhex(ask.installation_key),
            state_dir=ask.state_dir,
        )

    def _open(self, ask: Open) -> Answer:
        config = ask.unwrap()
        self._redact(ask.sandbox, config.credentials)
        opened = self._running.open(config, after=ask.after)
        return Answer(number=0, environment=dict(opened.environment), ca_certificate=opened.ca_certificate)

    def _redact(self, sandbox: str, credentials: Iterable[Credential]) -> None:
        """Keep values out of this process's log until their session is closed."""
        known = self._redacted.setdefault(sandbox, set())
        new = {value for credential in credentials for value in credential.values.values()} - known
        logs.redact(*new)
        known |= new


def _failure(error: Exception) -> Failure:
    match error:
        case ConfigError():
            return Failure(kind="policy", text=str(error), problems=error.problems)
        case UnusableCredential():
            return Failure(kind="unusable", text=str(error))
        case BadCredential():
            return Failure(kind="credential", text=str(error))
        case UnknownToken():
            return Failure(kind="token", text=str(error))
        case OSError():
            return Failure(kind="os", text=str(error))
        case ValueError():
            return Failure(kind="value", text=str(error))
        case _:
            log.error("question_failed", exc_info=error)
            return Failure(kind="internal", text=type(error).__name__)

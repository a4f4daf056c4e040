"""The agent at work in its sandbox: its output becomes events, its session is remembered while it still works."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.contracts.v1 import utc_now
from airut_orchestrator.agents import Agent
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.prepare import Stopwatch
from airut_orchestrator.progress import Progress
from airut_orchestrator.sessions import Session
from airut_orchestrator.task_log import TaskLog
from airut_orchestrator.transcript import Transcript
from airut_sandbox.container import Exit, Sandbox, SandboxSpec, open_sandbox
from airut_sandbox.errors import SandboxError
from airut_sandbox.podman import Podman

_log = structlog.get_logger()


@dataclass
class Execution:
    """One run of the agent for one task."""

    task: QueuedTask
    agent: Agent
    store: Store
    events: TaskEvents
    watch: Stopwatch
    agent_version: str
    log: TaskLog
    network_sandbox: bool
    begun: bool = False
    """The agent's process was started."""
    transcript: Transcript = field(init=False)
    _progress: Progress = field(init=False)
    _saving: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        ids = {
            "repo": self.task.request.repo,
            "task": self.task.id,
            "conversation": self.task.conversation,
        }
        self._progress = Progress(self.agent.progress(), self.events.publish, **ids)
        self.transcript = Transcript(self.agent, self.events.publish, said=self._progress.take, **ids)

    async def run(
        self,
        podman: Podman,
        spec: SandboxSpec,
        sandbox_id: str,
        *,
        session: Session,
        prompt: bytes,
        confirm: Callable[[], Awaitable[None]],
    ) -> Exit:
        """Make the sandbox, give it its network, run the agent to its end, and remove the sandbox. Nothing runs in it
        before `confirm` has returned; what that raises is raised.

        Raises:
            SandboxError: it could not be made, attached, or run. One that cannot be removed is no error of the task.
            TaskFailure: the egress-proxy went away, and stayed away.
        """
        ended: Exit | None = None
        making = time.monotonic()
        try:
            async with open_sandbox(podman, spec) as sandbox:
                self.watch.timings_ms["container"] = _milliseconds_since(making)
                with self.watch.stage("attach"):
                    await session.attach(sandbox)
                await confirm()
                ended = await self._run(sandbox, sandbox_id, spec, prompt)
        except SandboxError as error:
            if ended is None:
                raise
            _log.error("sandbox_not_removed", sandbox=spec.name, reason=str(error))
        return ended

    async def _run(self, sandbox: Sandbox, sandbox_id: str, spec: SandboxSpec, prompt: bytes) -> Exit:
        await self.store.enter_running(self.task.id, sandbox_id)
        starting = time.monotonic()

        def started() -> None:
            self.begun = True
            self.watch.timings_ms |= {"start": _milliseconds_since(starting)} | self._since_accepted()
            self.events.entered(
                self.task,
                "running",
                sandbox=sandbox_id,
                timings=self.watch.timings_ms,
                agent_version=self.agent_version,
                network_sandbox=self.network_sandbox,
            )
            for request in self.task.requests:
                self.transcript.prompt(request.text)

        try:
            ended = await sandbox.run(prompt, self._take, spec.limits.timeout_seconds, on_started=started)
            await self.log.take(b"(exit code %d) " % ended.code + ended.stderr_tail)
            return ended
        finally:
            self._progress.end()
            await asyncio.gather(*self._saving)

    async def _take(self, line: bytes) -> None:
        known = self.transcript.session
        self.transcript.take(line)
        await self.log.take(line)
        found = self.transcript.session
        # The first one only: a program that invents one with every line must not keep the database busy.
        if known is None and found is not None and found != self.task.agent_session:
            task = asyncio.get_running_loop().create_task(self._remember(found), name="remember-session")
            self._saving.add(task)

    async def _remember(self, agent_session: str) -> None:
        try:
            await self.store.remember_session(self.task.conversation, agent_session)
        except SQLAlchemyError as error:
            # It is written again with the result; until then only a retry after a crash would miss it.
            _log.warning("session_not_remembered", task=self.task.id, reason=str(error))

    def _since_accepted(self) -> dict[str, float]:
        accepted = self.task.request.accepted_at
        if accepted is None:
            return {}
        return {
            "accept_to_claim": _milliseconds(accepted, self.task.claimed_at),
            "accept_to_agent": _milliseconds(accepted, utc_now()),
        }


def _milliseconds_since(begin: float) -> float:
    return round((time.monotonic() - begin) * 1000, 1)


def _milliseconds(begin: datetime, end: datetime) -> float:
    return round((end - begin).total_seconds() * 1000, 1)

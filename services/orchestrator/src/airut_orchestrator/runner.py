"""One task from its request to its reply. Whatever goes wrong becomes words for the person who waits."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from airut_common.config.models import RepoConfig, ServerConfig
from airut_common.contracts.v1 import (
    BlobRef,
    OpenSession,
    Outcome,
    Reply,
    SessionOpened,
    TaskState,
    TaskStateChanged,
    Usage,
    new_id,
    utc_now,
)
from airut_common.secrets import Secret
from airut_orchestrator.agents import Agent
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.failures import TaskFailure, explain
from airut_orchestrator.folders import ConversationFolders
from airut_orchestrator.prepare import Preparer, Stopwatch, beside
from airut_orchestrator.prompt import build_prompt
from airut_orchestrator.sessions import EgressSessions
from airut_orchestrator.transcript import Transcript
from airut_sandbox.container import Exit, Mount, SandboxSpec, open_sandbox
from airut_sandbox.outbox import OutboxLimits, collect_outbox
from airut_sandbox.overlay import CA_PATH
from airut_sandbox.steering import changed_steering, snapshot_steering

#: Programs find our authority in the system's store; these are for those that bring a store of their own.
CA_VARIABLES = (
    "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
)  # fmt: skip
STDERR_SHOWN = 1500
_GO_ON = "Reply to go on."

log = structlog.get_logger()


@dataclass
class Result:
    """What a task came to."""

    outcome: Outcome
    text: str
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    attachments: list[BlobRef] = field(default_factory=list)
    usage: Usage | None = None


@dataclass(frozen=True)
class Job:
    """A task with the configuration it began with."""

    task: QueuedTask
    repo_id: str
    repo: RepoConfig
    server: ServerConfig
    token: Secret | None
    sandbox_id: str
    folders: ConversationFolders
    watch: Stopwatch


class Runner:
    """Runs tasks on this host."""

    def __init__(
        self,
        *,
        preparer: Preparer,
        sessions: EgressSessions,
        store: Store,
        events: TaskEvents,
        agent: Agent,
    ) -> None:
        self._preparer = preparer
        self._sessions = sessions
        self._store = store
        self._events = events
        self._agent = agent

    async def run(
        self, task: QueuedTask, server: ServerConfig, repo: RepoConfig | None, token: Secret | None
    ) -> Reply:
        """Run a task to its reply. Raises nothing but cancellation."""
        began = time.monotonic()
        watch = Stopwatch()
        try:
            if repo is None:
                name = task.request.repo
                raise TaskFailure(
                    f"no repository {name}", f"This installation has no repository `{name}` any more."
                )
            job = Job(
                task=task,
                repo_id=task.request.repo,
                repo=repo,
                server=server,
                token=token,
                sandbox_id=new_id(),
                folders=ConversationFolders(self._preparer.state / "conversations" / task.conversation),
                watch=watch,
            )
            result = await self._run(job)
        except Exception as error:
            found = explain(error)
            log.warning(
                "task_failed", task=task.id, reason=found.reason, exc_info=found.reason.startswith("internal")
            )
            result = Result(found.outcome, found.text, found.reason)
        reply = self._reply(task, result, time.monotonic() - began)
        self.announce(task, "replying", reason=result.reason, timings=watch.timings_ms)
        return reply

    def announce(
        self,
        task: QueuedTask,
        state: TaskState,
        *,
        reason: str | None = None,
        sandbox: str | None = None,
        timings: Mapping[str, float] | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Publish that a task entered a state."""
        request = task.request
        self._events.publish(
            TaskStateChanged(
                repo=request.repo,
                task=task.id,
                conversation=task.conversation,
                at=utc_now(),
                state=state,
                channel=request.channel,
                sender=request.sender,
                subject=request.subject,
                sandbox=sandbox,
                reason=reason,
                usage=usage,
                timings_ms=dict(timings or {}),
            )
        )

    async def _run(self, job: Job) -> Result:
        task, watch, prepare = job.task, job.watch, self._preparer
        self.announce(task, "preparing")
        mirror = prepare.mirror(job.repo_id, job.repo, job.server)
        inbox_work = prepare.inbox(job.folders, task.request.attachments, watch)
        async with (
            beside(prepare.agent(job.repo.agent.version, watch)) as agent,
            beside(inbox_work) as inbox,
        ):
            head = await prepare.fetch(mirror, job.repo, job.token, watch)
            question = OpenSession(
                sandbox=job.sandbox_id,
                task=task.id,
                repo=job.repo_id,
                policy=await prepare.policy(mirror, head),
            )
            with watch.stage("egress_open"):
                session = self._sessions.session(question)
                opened = await session.__aenter__()
            try:
                copying = prepare.workspace(mirror, head, job.folders.workspace, job.repo.git.url, watch)
                async with beside(copying) as workspace:
                    image = await prepare.image(
                        mirror,
                        head,
                        job.repo_id,
                        repo=job.repo,
                        server=job.server,
                        ca_pem=opened.ca_certificate,
                        watch=watch,
                    )
                    names = await inbox
                    program = await agent
                    await workspace
                spec = self._spec(job, image.id, opened, job.folders.mounts(program))
                return await self._sandboxed(job, spec, question, opened, names)
            finally:
                await session.__aexit__(None, None, None)

    def _spec(self, job: Job, image: str, opened: SessionOpened, mounts: tuple[Mount, ...]) -> SandboxSpec:
        launch = self._agent.launch(
            resume=job.task.agent_session, model=job.task.request.model or job.repo.agent.model
        )
        environment = {
            "HOME": "/root",
            **dict.fromkeys(CA_VARIABLES, CA_PATH),
            **job.repo.environment,
            **launch.environment,
            **opened.environment,
        }
        return SandboxSpec(
            name=f"airut-{job.sandbox_id}",
            image=image,
            command=launch.argv,
            environment=environment,
            mounts=mounts,
            limits=job.repo.limits,
            labels={
                "airut.installation": self._preparer.installation,
                "airut.repo": job.repo_id,
                "airut.task": job.task.id,
                "airut.conversation": job.task.conversation,
            },
        )

    async def _sandboxed(
        self,
        job: Job,
        spec: SandboxSpec,
        question: OpenSession,
        opened: SessionOpened,
        inbox: tuple[str, ...],
    ) -> Result:
        task, watch = job.task, job.watch
        before = await asyncio.to_thread(snapshot_steering, job.folders.workspace)
        transcript = Transcript(
            self._agent, self._events.publish, repo=job.repo_id, task=task.id, conversation=task.conversation
        )
        prompt = build_prompt(
            task.request,
            inbox=inbox,
            interrupted=task.attempts > 0,
            began_anew=task.request.conversation is not None
            and task.request.conversation != task.conversation,
        )
        with watch.stage("container"):
            sandbox_context = open_sandbox(self._preparer.podman, spec)
            sandbox = await sandbox_context.__aenter__()
        try:
            with watch.stage("attach"):
                await self._sessions.attach(question, opened, sandbox)
            await self._store.enter(task.id, "running")
            starting = time.monotonic()

            def started() -> None:
                watch.timings_ms["start"] = round((time.monotonic() - starting) * 1000, 1)
                accepted = task.request.accepted_at
                if accepted is not None:
                    watch.timings_ms["accept_to_claim"] = _milliseconds(accepted, task.claimed_at)
                    watch.timings_ms["accept_to_agent"] = _milliseconds(accepted, utc_now())
                self.announce(task, "running", sandbox=job.sandbox_id, timings=watch.timings_ms)
                transcript.prompt(task.request.text)

            async def on_line(line: bytes) -> None:
                known = transcript.session
                transcript.take(line)
                if transcript.session != known and transcript.session is not None:
                    await self._store.remember_session(task.conversation, transcript.session)

            ended = await sandbox.run(prompt, on_line, job.repo.limits.timeout_seconds, on_started=started)
        finally:
            await sandbox_context.__aexit__(None, None, None)
        result = judge(ended, transcript, job.repo.limits.timeout_seconds)
        await self._collect(job, result)
        after = await asyncio.to_thread(snapshot_steering, job.folders.workspace)
        changed = changed_steering(before, after)
        if changed:
            result.notes.append("Files that steer the agent or git were changed: " + ", ".join(changed))
        return result

    async def _collect(self, job: Job, result: Result) -> None:
        """The outbox, after the container is gone: nobody can change it any more."""
        settings = job.server.sandbox
        limits = OutboxLimits(
            max_files=settings.max_outbox_files,
            max_file_bytes=settings.max_outbox_file_bytes,
            max_total_bytes=settings.max_outbox_total_bytes,
        )
        collected = await asyncio.to_thread(collect_outbox, job.folders.outbox, limits)
        for file in collected.files:
            blob = await self._preparer.bus.put_blob(
                file.data, name=file.name, media_type="application/octet-stream"
            )
            result.attachments.append(blob)
        result.notes += [f"Not attached: {refusal.name} ({refusal.reason})" for refusal in collected.refused]

    def _reply(self, task: QueuedTask, result: Result, seconds: float) -> Reply:
        request = task.request
        usage = (result.usage or Usage(duration_seconds=0)).model_copy(
            update={"duration_seconds": round(seconds, 1)}
        )
        return Reply(
            id=task.id,
            repo=request.repo,
            channel=request.channel,
            conversation=task.conversation,
            outcome=result.outcome,
            text=result.text,
            notes=tuple(result.notes),
            attachments=tuple(result.attachments),
            usage=usage,
            route=request.route,
            created_at=utc_now(),
        )


def judge(ended: Exit, said: Transcript, timeout_seconds: int) -> Result:
    """What the end of an agent means for the person who waits. Pure."""
    answer = said.answer
    kept = f"\n\nWhat the agent said last:\n\n{answer}" if answer else ""
    if ended.timed_out:
        minutes = f"{timeout_seconds / 60:g} min"
        text = f"The agent did not finish within {minutes} and was stopped; its workspace was kept. {_GO_ON}{kept}"
        return Result("timed_out", text, f"not finished within {minutes}", usage=said.usage)
    if ended.oom_killed:
        text = f"The agent was stopped because it used more memory than it may; its workspace was kept.{kept}"
        return Result("failed", text, "out of memory", usage=said.usage)
    if said.result is not None:
        if said.failed:
            return Result(
                "failed", f"The agent gave up.{kept}", "the agent reported an error", usage=said.usage
            )
        return Result("done", answer or "(The agent finished without a word.)", usage=said.usage)
    errors = ended.stderr_tail.decode("utf-8", "replace")[-STDERR_SHOWN:].strip()
    shown = f"\n\nIts last words on standard error:\n\n```\n{_fenced(errors)}\n```" if errors else ""
    if said.not_understood and not said.understood:
        text = f"The agent's output could not be understood (exit code {ended.code}); its workspace was kept.{shown}"
        return Result("failed", text, "output that could not be understood")
    text = f"The agent ended without an answer (exit code {ended.code}); its workspace was kept. {_GO_ON}{kept}{shown}"
    return Result(
        "failed", text, f"the agent ended with exit code {ended.code} and no answer", usage=said.usage
    )


def _fenced(text: str) -> str:
    """Text that cannot end the block it is shown in, nor steer a terminal."""
    printable = "".join(c for c in text if c == "\n" or c.isprintable())
    return printable.replace("```", "'''")


def _milliseconds(begin: datetime, end: datetime) -> float:
    return round((end - begin).total_seconds() * 1000, 1)

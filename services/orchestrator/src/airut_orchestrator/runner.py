"""One task from its request to its reply. Whatever goes wrong becomes words for the person who waits."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from airut_common.config.models import RepoConfig, ServerConfig
from airut_common.contracts.v1 import OpenSession, Reply, SessionOpened, new_id
from airut_common.secrets import Secret
from airut_orchestrator.agents import Agent
from airut_orchestrator.build_output import BuildOutput
from airut_orchestrator.choice import Choice, choose
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.execution import Execution
from airut_orchestrator.failures import TaskFailure, explain
from airut_orchestrator.folders import ConversationFolders
from airut_orchestrator.harvest import collect_files, note_denied, note_steering
from airut_orchestrator.images import Expected
from airut_orchestrator.kept_sessions import KeptSessions
from airut_orchestrator.patience import beside
from airut_orchestrator.prepare import NetworkPolicy, Origin, Preparer, Source, Stopwatch
from airut_orchestrator.prompt import Preamble, build_prompt
from airut_orchestrator.replies import build_reply
from airut_orchestrator.repository_progress import RepositoryProgress
from airut_orchestrator.sessions import EgressSessions, Session
from airut_orchestrator.stopping import stopped_at_work
from airut_orchestrator.task_log import TaskLogs
from airut_orchestrator.verdict import Result, judge
from airut_orchestrator.work import Work
from airut_sandbox.agent_channel import AgentProgram
from airut_sandbox.container import Mount, SandboxSpec
from airut_sandbox.image import ImageRef
from airut_sandbox.mirror import Head, MirrorError
from airut_sandbox.outbox import InboxEntry
from airut_sandbox.overlay import CA_PATH, CA_VARIABLES
from airut_sandbox.steering import SteeringSnapshot, snapshot_steering

SESSION_LOST: Final = (
    "The agent did not find its earlier session and began a new one: it knew the workspace, and what was said last in "
    "the thread."
)
WORKSPACE_LOST: Final = (
    "The machine that held this conversation's workspace is gone. The agent began anew on a fresh clone of the "
    "default branch; what it had pushed is on its branch, what it had not is lost."
)
WORKSPACE_LOST_SESSION_KEPT: Final = (
    "The machine that held this conversation's workspace is gone. The agent remembers the conversation and went on "
    "with a fresh clone of the default branch; what it had pushed is on its branch, what it had not is lost."
)
OPEN_NETWORK: Final = (
    "The network sandbox of this repository is switched off (`network_sandbox: false`): the agent could reach every "
    "public host, and send them whatever it saw."
)

log = structlog.get_logger()


@dataclass(frozen=True)
class Settings:
    """The configuration that a task begins with."""

    server: ServerConfig
    repo: RepoConfig | None
    """None: no repository of that name is configured."""
    token: Secret | None = None


@dataclass(frozen=True)
class Finished:
    """A task at its end."""

    reply: Reply
    reason: str | None
    agent_session: str | None
    begun: bool
    """An agent was at work for it."""


@dataclass
class _Job:
    """A task under way."""

    task: QueuedTask
    work: Work
    build: BuildOutput
    repository: RepositoryProgress
    sandbox_id: str
    """Of the next try; each has its own."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    begun: bool = False
    """The agent's process was started."""
    resumed: str | None = None
    """The session that it went on with."""
    choice: Choice = field(default_factory=Choice)
    ahead: "_Ahead | None" = None
    execution: Execution | None = None
    session: Session | None = None
    before: SteeringSnapshot | None = None
    """Files that steer, as they were before the agent ran the first time."""


class BranchMoved(Exception):
    """The remote's default branch is another one than what was prepared for."""


@dataclass(frozen=True)
class _Ahead:
    """What a sandbox needs whatever the default branch holds: at hand, or on its way. Who may be interrupted while it
    waits for something of this does it behind a shield: another try needs it too."""

    origin: Origin
    folders: ConversationFolders
    head: asyncio.Task[Head]
    """As the remote says."""
    inbox: asyncio.Task[tuple[InboxEntry, ...]]
    program: asyncio.Task[AgentProgram]
    image: Expected | None
    resume: str | None
    """The agent's session to go on with."""

    async def confirm(self, head: Head) -> None:
        """The remote has said the same.

        Raises:
            BranchMoved: it said something else.
            MirrorError: it said nothing.
        """
        if await self.head != head:
            raise BranchMoved


@dataclass(frozen=True)
class _Branch:
    """What the default branch holds for a task."""

    source: Source
    policy: NetworkPolicy
    preamble: Preamble
    workspace: asyncio.Task[None]


class SessionLost(Exception):
    """The agent does not know the session that it was to resume."""


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
        logs: TaskLogs,
    ) -> None:
        self._preparer = preparer
        self._sessions = sessions
        self._store = store
        self._events = events
        self._agent = agent
        self._logs = logs
        self._kept = KeptSessions(store, agent)

    async def run(self, task: QueuedTask, settings: Settings, work: Work) -> Finished:
        """Run a task to its reply; `work` is told when the agent is done, and what follows is short. Raises nothing
        but cancellation, and that only when nobody asked for this task to be stopped."""
        began = time.monotonic()
        publish = self._events.publish
        build, repository = BuildOutput(task, publish), RepositoryProgress(task, publish)
        job = _Job(task, work, build, repository, task.sandbox or new_id())
        try:
            result = await self._run(job, settings)
        except asyncio.CancelledError:
            if work.stopped_by is None:
                raise
            result = await self._stopped(job, work.stopped_by)
        except Exception as error:  # noqa: BLE001 (whatever it is, it becomes words for the person who waits)
            result = await self._failed(job, error)
        work.agent_ended()
        if job.begun and settings.repo is not None and not settings.repo.network_sandbox:
            result.notes.append(OPEN_NETWORK)
        if job.begun and task.lost_with is not None:
            result.notes.insert(0, WORKSPACE_LOST if job.resumed is None else WORKSPACE_LOST_SESSION_KEPT)
        if result.agent_session is not None and job.ahead is not None:
            await self._kept.keep(task.conversation, result.agent_session, job.ahead.folders)
        self._events.entered(task, "replying", reason=result.reason, timings=job.watch.timings_ms)
        reply = build_reply(task, result, time.monotonic() - began)
        return Finished(reply, result.reason, result.agent_session, begun=job.begun)

    async def _failed(self, job: _Job, error: Exception) -> Result:
        if job.work.stopped_by is not None:
            # What was interrupted may fail on its way out; the person asked for its end.
            log.warning("stopped_with_trouble", task=job.task.id, reason=str(error))
            return await self._stopped(job, job.work.stopped_by)
        found = explain(error, begun=job.begun)
        log.warning("task_failed", task=job.task.id, reason=found.reason, exc_info=found.is_bug)
        result = Result(found.outcome, found.text, found.reason)
        if job.begun:
            await self._note_traces(job, result)
        return result

    async def _run(self, job: _Job, settings: Settings) -> Result:
        task, watch, prepare = job.task, job.watch, self._preparer
        self._events.entered(task, "preparing")
        repo, server = settings.repo, settings.server
        if repo is None:
            name = task.request.repo
            raise TaskFailure(
                f"no repository {name}", f"This installation has no repository called `{name}`."
            )
        job.task, job.choice = choose(task, repo.agent)
        prepare.check_space(server.sandbox.min_free_mib)
        folders = prepare.folders(task.conversation)
        # What lies here, if anything, is older than what a lost host had.
        anew_for = task.id if task.lost_with is not None else None
        resume = task.agent_session
        if await folders.make_ready(prepare.podman, anew_for=anew_for) and resume is not None:
            is_back = await self._kept.bring_back(task.conversation, resume, folders)
            resume = resume if is_back else None
        origin = prepare.origin(task.request.repo, repo, server)
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            head = await enter(beside(prepare.fetch(origin, settings.token, watch, job.repository)))
            program = await enter(beside(prepare.agent(repo.agent.version, watch)))
            inbox = await enter(beside(prepare.inbox(folders, task.requests, watch)))
            image = await enter(prepare.images.expecting(task.request.repo, task.id, job.build))
            ahead = job.ahead = _Ahead(origin, folders, head, inbox, program, image, resume)
            return await self._by_what_is_known(job, ahead)

    async def _by_what_is_known(self, job: _Job, ahead: _Ahead) -> Result:
        """Prepare by the default branch as it was last known, while the remote is asked whether it is still that; the
        agent starts when it has said so, and everything is done again when it says something else."""
        known = self._preparer.last_head(ahead.origin) if ahead.folders.has_workspace else None
        if known is not None:
            async with beside(self._on_branch(job, ahead, known)) as guess:
                if await ahead.head == known:
                    try:
                        return await guess
                    except MirrorError as error:
                        # It was read while the fetch made it anew, or before.
                        log.info("mirror_read_again", task=job.task.id, reason=str(error))
        return await self._on_branch(job, ahead, await ahead.head)

    async def _on_branch(self, job: _Job, ahead: _Ahead, head: Head) -> Result:
        task, prepare = job.task, self._preparer
        source = Source(**vars(ahead.origin), head=head)
        async with beside(prepare.workspace(source, ahead.folders, job.watch, job.repository)) as workspace:
            policy, preamble = await asyncio.gather(prepare.policy(source), prepare.preamble(source))
            branch = _Branch(source, policy, preamble, workspace)
            try:
                return await self._try(job, ahead, branch, ahead.resume)
            except SessionLost:
                log.warning("agent_session_lost", task=task.id, session=task.agent_session)
                result = await self._try(job, ahead, branch, None)
                result.notes.insert(0, SESSION_LOST)
                return result

    async def _try(self, job: _Job, ahead: _Ahead, branch: _Branch, resume: str | None) -> Result:
        """One run of the agent, from its network to its result."""
        source, folders, podman = branch.source, ahead.folders, self._preparer.podman
        sandbox_id, job.sandbox_id = job.sandbox_id, new_id()
        question = OpenSession(
            sandbox=sandbox_id,
            task=job.task.id,
            repo=source.repo_id,
            policy=branch.policy.text,
            policy_source=branch.policy.source,
        )
        opening = time.monotonic()
        async with (
            self._sessions.session(question) as session,
            self._logs.open(job.task.conversation, job.task.id) as task_log,
        ):
            job.watch.timings_ms["egress_open"] = round((time.monotonic() - opening) * 1000, 1)
            with job.watch.stage("image"):
                image = await self._image(job, ahead, source, session.opened.ca_certificate)
            prompt = await self._prompt(job.task, ahead, branch, resume)
            await branch.workspace
            folders.check()
            program = await asyncio.shield(ahead.program)
            spec = self._spec(
                job, source, image=image.id, opened=session.opened, mounts=folders.mounts(program.path),
                sandbox_id=sandbox_id, resume=resume, too_full=folders.are_too_full,
            )  # fmt: skip
            execution = Execution(
                job.task,
                self._agent,
                self._store,
                self._events,
                job.watch,
                program.version,
                task_log,
                network_sandbox=source.repo.network_sandbox,
            )
            # Once: an agent that says that it lost its session has run already.
            if job.before is None:
                job.before = await asyncio.to_thread(snapshot_steering, folders.workspace)
            job.execution, job.session, job.resumed = execution, session, resume
            try:
                ended = await execution.run(
                    podman,
                    spec,
                    sandbox_id,
                    session=session,
                    prompt=prompt,
                    confirm=lambda: ahead.confirm(source.head),
                )
            finally:
                job.begun = job.begun or execution.begun
            if execution.transcript.session_lost and resume is not None:
                raise SessionLost
            job.work.agent_ended()
            folders.note_too_full(too_full=ended.disk.still_over is not None)
            result = judge(ended, execution.transcript, source.repo.limits)
            if program.note is not None:
                result.notes.append(program.note)
            note_denied(await session.close(), result)
            await collect_files(self._preparer.bus, folders, source.server.sandbox, result)
            await note_steering(job.before, folders, result)
            return result

    async def _image(self, job: _Job, ahead: _Ahead, source: Source, ca_pem: str) -> ImageRef:
        recipe = self._preparer.recipe(source, ca_pem)
        if ahead.image is not None and ahead.image.recipe == recipe:
            with suppress(MirrorError):  # it was read while the fetch made it anew
                return await asyncio.shield(ahead.image.found)
        # People are told what a build says, and it may take long: only what certainly is the right one is built.
        await ahead.confirm(source.head)
        return await self._preparer.images.ensure(recipe, job.task.id, job.build)

    async def _stopped(self, job: _Job, by: str) -> Result:
        """What a person's stop leaves: the workspace, the session, the last words, and the files so far."""
        job.work.agent_ended()
        if (current := asyncio.current_task()) is not None:
            current.uncancel()
        log.info("task_stopped", task=job.task.id)
        if job.execution is None or job.ahead is None:
            return stopped_at_work(by, "")
        said = job.execution.transcript
        result = stopped_at_work(by, said.answer)
        result.usage, result.agent_session = said.usage, said.session
        await collect_files(self._preparer.bus, job.ahead.folders, job.ahead.origin.server.sandbox, result)
        await self._note_traces(job, result)
        return result

    async def _note_traces(self, job: _Job, result: Result) -> None:
        """What is told of every agent that ran, however it ended."""
        if job.session is not None:
            note_denied(await job.session.close(), result)
        if job.before is not None and job.ahead is not None:
            await note_steering(job.before, job.ahead.folders, result)

    async def _prompt(self, task: QueuedTask, ahead: _Ahead, branch: _Branch, resume: str | None) -> bytes:
        began_anew = (
            task.began_anew or resume != task.agent_session or (task.lost_with is not None and resume is None)
        )
        return build_prompt(
            task.requests,
            branch.preamble,
            inbox=await asyncio.shield(ahead.inbox),
            interrupted=task.attempts > 1,
            began_anew=began_anew,
            history=await self._store.history(task.id, unseen=resume is not None and not began_anew),
            workspace_lost=task.lost_with is not None,
            too_full=branch.source.repo.limits if ahead.folders.are_too_full else None,
        )

    def _spec(
        self,
        job: _Job,
        source: Source,
        *,
        image: str,
        opened: SessionOpened,
        mounts: tuple[Mount, ...],
        sandbox_id: str,
        resume: str | None,
        too_full: bool,
    ) -> SandboxSpec:
        repo, choice = source.repo, job.choice
        try:
            launch = self._agent.launch(resume=resume, model=choice.model, effort=choice.effort)
        except ValueError as error:
            raise TaskFailure(f"model: {error}", f"Nothing was run: {error}.") from None
        environment = {
            "HOME": "/root",
            **dict.fromkeys(CA_VARIABLES, CA_PATH),
            **repo.environment,
            **launch.environment,
            **opened.environment,
        }
        return SandboxSpec(
            name=f"airut-{sandbox_id}",
            image=image,
            command=launch.argv,
            environment=environment,
            mounts=mounts,
            limits=repo.limits,
            may_clean_up=too_full,
            takes_back_room=True,
            keep_free_bytes=source.server.sandbox.min_free_mib * 1024 * 1024,
            labels={
                "airut.installation": self._preparer.installation,
                "airut.repo": source.repo_id,
                "airut.task": job.task.id,
                "airut.conversation": job.task.conversation,
            },
        )

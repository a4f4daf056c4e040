"""Every question and every change, each one transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from airut_common.contracts.v1 import FINAL_STATES, Reply, TaskRequest, TaskState, new_id, utc_now
from airut_orchestrator.database.merging import answer, merge_waiting, merged_into
from airut_orchestrator.database.schema import Conversation, OutgoingReply, Task

#: Under way: leased by a host. A reply that waits for the bus holds its conversation up no longer.
ACTIVE: Sequence[TaskState] = ("preparing", "running")
LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class QueuedTask:
    """A task to run, and what is known of its conversation."""

    request: TaskRequest
    conversation: str
    agent_session: str | None
    attempts: int
    """How often it was begun, this time included."""
    sandbox: str | None
    """Of the last try."""
    claimed_at: datetime
    merged: tuple[TaskRequest, ...] = ()
    """Later messages of the conversation that the agent is handed together with `request`, in order."""
    place: int | None = None
    """When it has just come: 1 is next among those of its conversation that wait."""
    waits_for_turn: bool = False
    """When it has just come: its conversation is at work."""

    @property
    def requests(self) -> tuple[TaskRequest, ...]:
        """Every message, in order."""
        return (self.request, *self.merged)

    @property
    def id(self) -> str:
        """The task's id, which is the request's."""
        return self.request.id

    @property
    def began_anew(self) -> bool:
        """Whether it named a conversation that is not known here, or not of this repository."""
        return any(request.conversation not in {None, self.conversation} for request in self.requests)


@dataclass(frozen=True)
class Outgoing:
    """A reply that the bus has not acknowledged."""

    reply: Reply
    reason: str | None
    """One line: why the task failed."""
    merged: tuple[TaskRequest, ...] = ()
    """The messages that were merged into its task."""
    answers: str = ""
    """The task that it answers: another one than the reply's id where an author's message was merged into it."""


class Store:
    """The memory of the orchestrator on one host."""

    def __init__(self, engine: AsyncEngine, host: str = "local") -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._host = host

    async def add(self, request: TaskRequest) -> QueuedTask | None:
        """Commit a request as a queued task. A known id changes nothing; a conversation that is unknown, or of another
        repository, is not joined: a new one begins.

        Answers the task while it waits in the queue, None when it has left it already.
        """
        async with self._sessions.begin() as session:
            task = await session.scalar(select(Task).where(Task.id == request.id))
            if task is None:
                conversation = await _conversation(session, request)
                task = Task(
                    id=request.id,
                    conversation=conversation.id,
                    repo=request.repo,
                    state="queued",
                    attempts=0,
                    request=request.model_dump_json(),
                    claimed_at=utc_now(),
                )
                session.add(task)
                await session.flush()
            else:
                conversation = await session.get_one(Conversation, task.conversation)
            if task.state != "queued":
                return None
            waiting = select(func.count()).where(
                Task.conversation == conversation.id, Task.state == "queued", Task.position <= task.position
            )
            place = await session.scalar(waiting)
            at_work = exists().where(Task.conversation == conversation.id, Task.state.in_(ACTIVE))
            turn = bool(await session.scalar(select(at_work))) or (place or 1) > 1
            return replace(_queued(task, conversation), place=place, waits_for_turn=turn)

    async def begin_next(self) -> QueuedTask | None:
        """Lease the oldest queued task whose conversation has nothing under way and lies on no other host, and merge
        into it what waits in the conversation behind it, as far as `how_many_together` allows. A task that is tried
        again keeps those it has and gets no others: they are not to fall with it."""
        async with self._sessions.begin() as session:
            busy = select(Task.conversation).where(Task.state.in_(ACTIVE))
            found = await session.execute(
                select(Task, Conversation)
                .join(Conversation, Conversation.id == Task.conversation)
                .where(Task.state == "queued", Task.conversation.not_in(busy))
                .where(or_(Conversation.host.is_(None), Conversation.host == self._host))
                .order_by(Task.position)
                .limit(1)
            )
            row = found.one_or_none()
            if row is None:
                return None
            task, conversation = row
            merged = await merged_into(session, task)
            conversation.host = self._host
            task.state, task.sandbox = "preparing", new_id()
            if not task.attempts:
                merged += await merge_waiting(session, task, merged)
            task.attempts += 1
            task.leased_by, task.leased_until = self._host, utc_now() + LEASE
            return _queued(task, conversation, merged)

    async def renew(self, tasks: Collection[str]) -> None:
        """Keep the leases of tasks that are being worked on."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(Task)
                .where(Task.id.in_(tasks), Task.state.in_(ACTIVE), Task.leased_by == self._host)
                .values(leased_until=utc_now() + LEASE)
            )

    async def release_all(self) -> None:
        """End every lease of this host. At start, when it is certain that no other process of it lives."""
        async with self._sessions.begin() as session:
            mine = or_(Task.leased_by == self._host, Task.leased_by.is_(None))
            await session.execute(
                update(Task).where(Task.state.in_(ACTIVE), mine).values(leased_until=utc_now())
            )

    async def abandoned(self) -> list[QueuedTask]:
        """Tasks of this host that are under way by their state, but whose lease has ended: nobody works on them."""
        async with self._sessions() as session:
            mine = or_(Task.leased_by == self._host, Task.leased_by.is_(None))
            rows = await session.execute(
                select(Task, Conversation)
                .join(Conversation, Conversation.id == Task.conversation)
                .where(Task.state.in_(ACTIVE), mine, Task.leased_until <= utc_now())
                .order_by(Task.position)
            )
            return [
                _queued(task, conversation, await merged_into(session, task)) for task, conversation in rows
            ]

    async def enter_running(self, task: str, sandbox: str) -> None:
        """The agent's process is about to start in this sandbox."""
        await self._update(task, state="running", sandbox=sandbox)

    async def requeue(self, task: str) -> None:
        """Try an abandoned task again; the attempt counts."""
        await self._update(task, state="queued", leased_by=None, leased_until=None)

    async def put_back(self, task: str) -> None:
        """The orchestrator stops: the task waits for the next start, and this attempt does not count."""
        async with self._sessions.begin() as session:
            found = await session.scalar(select(Task).where(Task.id == task))
            if found is not None and found.state in ACTIVE:
                found.state, found.leased_by, found.leased_until = "queued", None, None
                found.attempts -= 1

    async def remember_session(self, conversation: str, agent_session: str) -> None:
        """The agent's own session, so that the next message resumes it."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(Conversation)
                .where(Conversation.id == conversation)
                .values(agent_session=agent_session)
            )

    async def finish(self, reply: Reply, reason: str | None, agent_session: str | None = None) -> None:
        """Result and reply in one transaction. A task that has its reply already keeps it. `agent_session` None
        keeps the one that is known."""
        async with self._sessions.begin() as session:
            task = await session.scalar(select(Task).where(Task.id == reply.id))
            if task is None or task.state in FINAL_STATES or task.state == "replying":
                return
            task.state, task.reason = "replying", reason
            task.leased_by, task.leased_until = None, None
            await answer(session, task, reply)
            conversation = await session.get_one(Conversation, task.conversation)
            conversation.last_activity_at = utc_now()
            conversation.agent_session = agent_session or conversation.agent_session

    async def waiting(self, *, task: str | None = None, conversation: str | None = None) -> list[QueuedTask]:
        """Tasks in the queue: the one of this id, or those of a conversation, oldest first."""
        chosen = Task.id == task if task is not None else Task.conversation == conversation
        async with self._sessions() as session:
            rows = await session.execute(
                select(Task, Conversation)
                .join(Conversation, Conversation.id == Task.conversation)
                .where(Task.state == "queued", chosen)
                .order_by(Task.position)
            )
            return [
                _queued(task, conversation, await merged_into(session, task)) for task, conversation in rows
            ]

    async def carrier(self, task: str) -> str:
        """The task that works on a message: the one that it was merged into, or its own."""
        async with self._sessions() as session:
            return await session.scalar(select(Task.merged_into).where(Task.id == task)) or task

    async def finish_waiting(self, reply: Reply, reason: str) -> bool:
        """Answer a task that still waits in the queue, in one transaction; False when it has left it."""
        async with self._sessions.begin() as session:
            task = await session.scalar(select(Task).where(Task.id == reply.id))
            if task is None or task.state != "queued":
                return False
            task.state, task.reason = "replying", reason
            await answer(session, task, reply)
            return True

    async def unused_since(self, moment: datetime) -> list[str]:
        """Conversations of this host without a message or a task since then, longest unused first."""
        busy = select(Task.conversation).where(Task.state.not_in(FINAL_STATES))
        mine = or_(Conversation.host == self._host, Conversation.host.is_(None))
        async with self._sessions() as session:
            found = await session.scalars(
                select(Conversation.id)
                .where(Conversation.last_activity_at < moment, mine, Conversation.id.not_in(busy))
                .order_by(Conversation.last_activity_at)
            )
            return list(found)

    async def forget(self, conversation: str, moment: datetime) -> bool:
        """Remove a conversation with its tasks and replies, unless it has been used since that moment."""
        async with self._sessions.begin() as session:
            tasks = select(Task.id).where(Task.conversation == conversation)
            unsent = select(OutgoingReply.task).where(OutgoingReply.published_at.is_(None))
            busy = tasks.where(or_(Task.state.not_in(FINAL_STATES), Task.id.in_(unsent)))
            found = await session.scalar(
                select(Conversation).where(
                    Conversation.id == conversation, Conversation.last_activity_at < moment, ~busy.exists()
                )
            )
            if found is None:
                return False
            await session.execute(delete(OutgoingReply).where(OutgoingReply.task.in_(tasks)))
            await session.execute(delete(Task).where(Task.conversation == conversation))
            await session.delete(found)
            return True

    async def conversations(self) -> set[str]:
        """Every conversation that is known."""
        async with self._sessions() as session:
            return set(await session.scalars(select(Conversation.id)))

    async def unpublished(self) -> list[Outgoing]:
        """Replies that the bus has not acknowledged yet, in the order of their tasks."""
        async with self._sessions() as session:
            rows = await session.execute(
                select(OutgoingReply.reply, Task)
                .join(Task, Task.id == OutgoingReply.task)
                .where(OutgoingReply.published_at.is_(None))
                .order_by(Task.position)
            )
            return [
                Outgoing(
                    Reply.model_validate_json(reply),
                    task.reason,
                    await merged_into(session, task),
                    task.merged_into or task.id,
                )
                for reply, task in rows
            ]

    async def published(self, task: str, state: TaskState) -> None:
        """The bus has the reply: the task has reached its final state, if it had none yet."""
        now = utc_now()
        async with self._sessions.begin() as session:
            await session.execute(
                update(OutgoingReply).where(OutgoingReply.task == task).values(published_at=now)
            )
            await session.execute(
                update(Task)
                .where(Task.id == task, Task.state == "replying")
                .values(state=state, finished_at=now)
            )

    async def state(self, task: str) -> str | None:
        """A task's state; None when it is unknown."""
        async with self._sessions() as session:
            return await session.scalar(select(Task.state).where(Task.id == task))

    async def _update(self, task: str, **values: object) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                update(Task).where(Task.id == task, Task.state.in_(ACTIVE)).values(**values)
            )


async def _conversation(session: AsyncSession, request: TaskRequest) -> Conversation:
    now = utc_now()
    found = await session.get(Conversation, request.conversation) if request.conversation else None
    if found is not None and found.repo == request.repo:
        found.last_activity_at = now
        return found
    fresh = Conversation(id=new_id(), repo=request.repo, created_at=now, last_activity_at=now)
    session.add(fresh)
    await session.flush()
    return fresh


def _queued(task: Task, conversation: Conversation, merged: tuple[TaskRequest, ...] = ()) -> QueuedTask:
    return QueuedTask(
        merged=merged,
        request=TaskRequest.model_validate_json(task.request),
        conversation=conversation.id,
        agent_session=conversation.agent_session,
        attempts=task.attempts,
        sandbox=task.sandbox,
        claimed_at=task.claimed_at,
    )

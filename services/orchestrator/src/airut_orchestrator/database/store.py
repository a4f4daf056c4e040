"""Every question and every change, each one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from airut_common.contracts.v1 import FINAL_STATES, Reply, TaskRequest, TaskState, new_id, utc_now
from airut_orchestrator.database.schema import Conversation, OutgoingReply, Task

BUSY: Sequence[TaskState] = ("preparing", "running")
"""States in which a task holds its conversation. A finished one that only waits to be published does not: replies
are published in order of arrival."""


@dataclass(frozen=True)
class QueuedTask:
    """A task to run, and what is known of its conversation."""

    request: TaskRequest
    conversation: str
    agent_session: str | None
    attempts: int
    """How often it was begun before."""
    claimed_at: datetime

    @property
    def id(self) -> str:
        """The task's id, which is the request's."""
        return self.request.id


@dataclass(frozen=True)
class Added:
    """What claiming a request did."""

    conversation: str
    is_new: bool
    """False: this request was known already."""


class Store:
    """The orchestrator's memory."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def add(self, request: TaskRequest) -> Added:
        """Commit a request as a queued task. A known id changes nothing; a conversation that is unknown, or of another
        repository, is not joined: a new one begins."""
        async with self._sessions.begin() as session:
            known = await session.scalar(select(Task).where(Task.id == request.id))
            if known is not None:
                return Added(known.conversation, is_new=False)
            conversation = await self._conversation(session, request)
            session.add(
                Task(
                    id=request.id,
                    conversation=conversation,
                    repo=request.repo,
                    state="queued",
                    attempts=0,
                    request=request.model_dump_json(),
                    claimed_at=utc_now(),
                )
            )
            return Added(conversation, is_new=True)

    async def _conversation(self, session: AsyncSession, request: TaskRequest) -> str:
        now = utc_now()
        found = await session.get(Conversation, request.conversation) if request.conversation else None
        if found is not None and found.repo == request.repo:
            found.last_activity_at = now
            return found.id
        fresh = Conversation(id=new_id(), repo=request.repo, created_at=now, last_activity_at=now)
        session.add(fresh)
        await session.flush()
        return fresh.id

    async def begin_next(self) -> QueuedTask | None:
        """Take the oldest queued task whose conversation has nothing under way, and count the attempt."""
        async with self._sessions.begin() as session:
            busy = select(Task.conversation).where(Task.state.in_(BUSY))
            task = await session.scalar(
                select(Task)
                .where(Task.state == "queued", Task.conversation.not_in(busy))
                .order_by(Task.position)
                .limit(1)
            )
            if task is None:
                return None
            task.state = "preparing"
            task.attempts += 1
            conversation = await session.get_one(Conversation, task.conversation)
            return QueuedTask(
                request=TaskRequest.model_validate_json(task.request),
                conversation=conversation.id,
                agent_session=conversation.agent_session,
                attempts=task.attempts - 1,
                claimed_at=task.claimed_at,
            )

    async def enter(self, task: str, state: Literal["preparing", "running"]) -> None:
        """Note how far a task has come."""
        await self._update(task, state=state)

    async def put_back(self, task: str) -> None:
        """The orchestrator stops: the task waits for the next start, and this attempt does not count."""
        async with self._sessions.begin() as session:
            found = await session.scalar(select(Task).where(Task.id == task))
            if found is not None and found.state in BUSY:
                found.state = "queued"
                found.attempts -= 1

    async def remember_session(self, conversation: str, agent_session: str) -> None:
        """The agent's own session, so that the next message resumes it."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(Conversation)
                .where(Conversation.id == conversation)
                .values(agent_session=agent_session)
            )

    async def finish(self, reply: Reply, reason: str | None) -> None:
        """Result and reply in one transaction. A task that has its reply already keeps it."""
        async with self._sessions.begin() as session:
            found = await session.scalar(select(Task).where(Task.id == reply.id))
            if found is None or found.state in FINAL_STATES or found.state == "replying":
                return
            found.state = "replying"
            found.reason = reason
            session.add(OutgoingReply(task=reply.id, reply=reply.model_dump_json()))
            conversation = await session.get_one(Conversation, found.conversation)
            conversation.last_activity_at = utc_now()

    async def unpublished(self) -> list[Reply]:
        """Replies that the bus has not acknowledged yet, oldest first."""
        async with self._sessions() as session:
            rows = await session.scalars(
                select(OutgoingReply)
                .join(Task, Task.id == OutgoingReply.task)
                .where(OutgoingReply.published_at.is_(None))
                .order_by(Task.position)
            )
            return [Reply.model_validate_json(row.reply) for row in rows]

    async def published(self, task: str, state: TaskState) -> None:
        """The bus has the reply: the task has reached its final state."""
        now = utc_now()
        async with self._sessions.begin() as session:
            await session.execute(
                update(OutgoingReply).where(OutgoingReply.task == task).values(published_at=now)
            )
            await session.execute(update(Task).where(Task.id == task).values(state=state, finished_at=now))

    async def interrupted(self) -> list[QueuedTask]:
        """At start: tasks that were under way when the last orchestrator died, without a reply yet."""
        async with self._sessions() as session:
            rows = await session.execute(
                select(Task, Conversation)
                .join(Conversation, Conversation.id == Task.conversation)
                .where(Task.state.in_(BUSY))
                .order_by(Task.position)
            )
            return [
                QueuedTask(
                    request=TaskRequest.model_validate_json(task.request),
                    conversation=conversation.id,
                    agent_session=conversation.agent_session,
                    attempts=task.attempts,
                    claimed_at=task.claimed_at,
                )
                for task, conversation in rows
            ]

    async def requeue(self, task: str) -> None:
        """Try an interrupted task again; the attempt counts."""
        await self._update(task, state="queued")

    async def state(self, task: str) -> str | None:
        """A task's state; None when it is unknown."""
        async with self._sessions() as session:
            return await session.scalar(select(Task.state).where(Task.id == task))

    async def _update(self, task: str, **values: object) -> None:
        async with self._sessions.begin() as session:
            await session.execute(update(Task).where(Task.id == task).values(**values))

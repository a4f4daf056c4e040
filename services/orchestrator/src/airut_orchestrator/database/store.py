"""Every question and every change, each one transaction.

Who changes the tasks of a conversation holds its row (`_held`): orchestrators of several hosts may share a database.
SQLite knows no row locks and needs none: there a transaction is alone from its beginning.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import update_wrapper
from types import MappingProxyType
from typing import Any, Concatenate

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from airut_common.contracts.v1 import FINAL_STATES, Reply, TaskRequest, TaskState, new_id, utc_now
from airut_orchestrator.database.connection import Database
from airut_orchestrator.database.history import Exchange, read_history
from airut_orchestrator.database.hosts import TakenOver, be_seen, take_over_from_lost
from airut_orchestrator.database.merging import answer, merge_waiting, merged_into
from airut_orchestrator.database.schema import ACTIVE, AgentSession, Conversation, OutgoingReply, Task

LEASE = timedelta(seconds=60)
NO_LIMITS: Mapping[str, int] = MappingProxyType({})


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
    turned_away: bool = False
    """When it has just come: as many messages of its repository waited as may, and it has its answer."""
    stopped: int = 0
    """When it asked to stop its conversation: how many tasks were."""
    lost_with: str | None = None
    """The host that held the conversation's workspace, and is gone."""

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


def transaction[**P, T](
    work: Callable[Concatenate["Store", Session, P], T], /
) -> Callable[Concatenate["Store", P], Coroutine[Any, Any, T]]:
    """A method that is a transaction of its own: awaited from outside, it runs in a thread with a session."""

    async def run(store: "Store", /, *arguments: P.args, **named: P.kwargs) -> T:
        return await store.database.transact(lambda session: work(store, session, *arguments, **named))

    update_wrapper(run, work)
    return run


class Store:
    """The memory of the orchestrator on one host. Each method may raise what `Database.transact` does."""

    def __init__(self, database: Database, host: str = "local") -> None:
        self.database = database
        self._host = host

    @transaction
    def add(
        self,
        session: Session,
        *requests: TaskRequest,
        max_queue: Mapping[str, int] = NO_LIMITS,
        too_many: Callable[[QueuedTask], Reply | None] = lambda _: None,
    ) -> list[QueuedTask | None]:
        """Commit requests as queued tasks, in this order. A known id changes nothing; a conversation that is unknown,
        or of another repository, is not joined: a new one begins. `max_queue` says of repositories how many messages
        may wait; one more is answered at once with what `too_many` makes of it, or waits all the same with None.

        Answers for each the task if it is new or still waits, None when it has left the queue already.
        """
        for conversation in sorted({request.conversation for request in requests if request.conversation}):
            _find(session, conversation)  # in one order everywhere, so that no two wait for each other
        known = set(session.scalars(select(Task.id).where(Task.id.in_([request.id for request in requests]))))
        # Counted once and not for each of them: a long queue would be walked along as often.
        waiting = {
            repo: _waiting(session, repo, max_queue[repo])
            for repo in {request.repo for request in requests} & max_queue.keys()
        }
        added: list[QueuedTask | None] = []
        opening: list[QueuedTask] = []
        for request in requests:
            if request.id in known:
                _write(session, opening)
                added.append(_add_again(session, request))
                continue
            known.add(request.id)
            going_on = _continued(session, request)
            if going_on is None:
                task = _opening(request)
                opening.append(task)
            else:
                _write(session, opening)  # what came before it stands before it
                task = _add(session, request, going_on)
            is_full = request.repo in waiting and waiting[request.repo] >= max_queue[request.repo]
            if is_full and (reply := too_many(task)):
                _write(session, opening)
                row = session.scalars(select(Task).where(Task.id == task.id)).one()
                _answer_waiting(session, row, reply, "the queue is full")
                task = replace(task, turned_away=True)
            elif request.repo in waiting:
                waiting[request.repo] += 1
            added.append(task)
        _write(session, opening)
        return added

    @transaction
    def begin_next(
        self, session: Session, but: Collection[str] = (), max_concurrent: Mapping[str, int] = NO_LIMITS
    ) -> QueuedTask | None:
        """Lease the oldest queued task whose conversation has nothing under way and lies on no other host, and merge
        into it what waits in the conversation behind it, as far as `how_many_together` allows. A task that is tried
        again keeps those it has and gets no others: they are not to fall with it. `but` names tasks to pass over,
        `max_concurrent` how many of a repository may be under way; two hosts that look at the same moment may exceed
        it by one."""
        busy = select(Task.conversation).where(Task.state.in_(ACTIVE))
        waiting = (
            select(Task, Conversation)
            .join(Conversation, Conversation.id == Task.conversation)
            .where(Task.state == "queued", Task.conversation.not_in(busy), Task.id.not_in(but))
            .where(self._may_have, Task.repo.not_in(_at_their_limit(session, max_concurrent)))
            .order_by(Task.position)
            .limit(1)
            .with_for_update(skip_locked=True, key_share=True)
            .execution_options(populate_existing=True)
        )
        while (row := session.execute(waiting).one_or_none()) is not None:
            task, conversation = row
            # What was looked at is older than the lock: another host may have begun one of the conversation meanwhile.
            if not session.scalar(select(_is_at_work(conversation))):
                return self._begin(session, task, conversation)
        return None

    def _begin(self, session: Session, task: Task, conversation: Conversation) -> QueuedTask:
        merged = merged_into(session, task)
        if conversation.lost_with == self._host:
            conversation.lost_with = None  # nobody has worked on it in the meantime
        conversation.host = self._host
        task.state, task.sandbox = "preparing", new_id()
        if not task.attempts:
            merged += merge_waiting(session, task, merged)
        task.attempts += 1
        task.leased_by, task.leased_until = self._host, utc_now() + LEASE
        return _queued(task, conversation, merged)

    @property
    def _may_have(self) -> ColumnElement[bool]:
        return or_(Conversation.host.is_(None), Conversation.host == self._host)

    @property
    def _leased(self) -> ColumnElement[bool]:
        return or_(Task.leased_by == self._host, Task.leased_by.is_(None))

    @transaction
    def be_seen(self, session: Session) -> None:
        """Tell other hosts that this one lives."""
        be_seen(session, self._host)

    @transaction
    def take_over(self, session: Session, unseen_for: timedelta) -> list[TakenOver]:
        """Take what belongs to hosts that nobody has seen for so long; `abandoned` then has their tasks."""
        return take_over_from_lost(session, self._host, unseen_for)

    @transaction
    def renew(self, session: Session, tasks: Collection[str]) -> set[str]:
        """Keep the leases of tasks that are being worked on; those that are still this host's. Another one has taken
        over what is missing."""
        ours = (Task.id.in_(tasks), Task.state.in_(ACTIVE), Task.leased_by == self._host)
        session.execute(update(Task).where(*ours).values(leased_until=utc_now() + LEASE))
        return set(session.scalars(select(Task.id).where(*ours)))

    @transaction
    def release_all(self, session: Session) -> None:
        """End every lease of this host. At start, when it is certain that no other process of it lives."""
        session.execute(
            update(Task).where(Task.state.in_(ACTIVE), self._leased).values(leased_until=utc_now())
        )

    @transaction
    def abandoned(self, session: Session) -> list[QueuedTask]:
        """Tasks of this host that are under way by their state, but whose lease has ended: nobody works on them."""
        rows = session.execute(
            select(Task, Conversation)
            .join(Conversation, Conversation.id == Task.conversation)
            .where(Task.state.in_(ACTIVE), self._leased, Task.leased_until <= utc_now())
            .order_by(Task.position)
        )
        return [_queued(task, conversation, merged_into(session, task)) for task, conversation in rows]

    @transaction
    def enter_running(self, session: Session, task: str, sandbox: str) -> None:
        """The agent's process is about to start in this sandbox."""
        self._update(session, task, state="running", sandbox=sandbox)

    @transaction
    def requeue(self, session: Session, task: str) -> None:
        """Try an abandoned task again; the attempt counts."""
        self._update(session, task, state="queued", leased_by=None, leased_until=None)

    @transaction
    def put_back(self, session: Session, task: str) -> None:
        """The orchestrator stops: the task waits for the next start, and this attempt does not count."""
        found = _held(session, task)
        if found is not None and found.state in ACTIVE and found.leased_by == self._host:
            found.state, found.leased_by, found.leased_until = "queued", None, None
            found.attempts -= 1

    @transaction
    def remember_session(self, session: Session, conversation: str, agent_session: str) -> None:
        """The agent's own session, so that the next message resumes it."""
        session.execute(
            update(Conversation).where(Conversation.id == conversation).values(agent_session=agent_session)
        )

    @transaction
    def keep_session(self, session: Session, conversation: str, agent_session: str, data: bytes) -> None:
        """Keep the agent's memory of a conversation, in place of an earlier one."""
        session.merge(AgentSession(conversation=conversation, session=agent_session, data=data))

    @transaction
    def kept_session(self, session: Session, conversation: str, agent_session: str) -> bytes | None:
        """What was kept of this session; None when nothing was, or of another one."""
        return session.scalar(
            select(AgentSession.data).where(
                AgentSession.conversation == conversation, AgentSession.session == agent_session
            )
        )

    @transaction
    def finish(
        self,
        session: Session,
        reply: Reply,
        reason: str | None,
        agent_session: str | None = None,
        *,
        begun: bool = True,
    ) -> None:
        """Result and reply in one transaction. A task that has its reply already keeps it, and so does one that
        another host has taken over. `agent_session` None keeps the one that is known. When no agent has `begun`, the
        loss of a workspace stays to be told, and made good."""
        task = _held(session, reply.id)
        if task is None or task.state not in ACTIVE or task.leased_by not in {None, self._host}:
            return
        task.state, task.reason = "replying", _storable(reason)
        task.leased_by, task.leased_until = None, None
        answer(session, task, reply)
        conversation = session.get_one(Conversation, task.conversation)
        conversation.last_activity_at = utc_now()
        conversation.agent_session = agent_session or conversation.agent_session
        if begun:
            conversation.lost_with = None

    @transaction
    def waiting(
        self, session: Session, *, task: str | None = None, conversation: str | None = None
    ) -> list[QueuedTask]:
        """Tasks in the queue: the one of this id, or those of a conversation, oldest first."""
        chosen = Task.id == task if task is not None else Task.conversation == conversation
        rows = session.execute(
            select(Task, Conversation)
            .join(Conversation, Conversation.id == Task.conversation)
            .where(Task.state == "queued", chosen)
            .order_by(Task.position)
        )
        return [_queued(task, conversation, merged_into(session, task)) for task, conversation in rows]

    @transaction
    def unanswered(self, session: Session, task: str) -> QueuedTask | None:
        """A task, or a message that was merged into one, without a reply yet; None also when it is unknown."""
        found = session.scalar(select(Task).where(Task.id == task))
        if found is None or session.get(OutgoingReply, found.merged_into or found.id) is not None:
            return None
        return _queued(found, session.get_one(Conversation, found.conversation))

    @transaction
    def elsewhere(
        self, session: Session, *, task: str | None = None, conversation: str | None = None
    ) -> list[tuple[str, str]]:
        """What another host works on, the task of this id or one of this conversation, and that host's name."""
        chosen = Task.id == task if task is not None else Task.conversation == conversation
        rows = session.execute(
            select(Task.id, Task.leased_by).where(
                Task.state.in_(ACTIVE), chosen, Task.leased_by.is_not(None), Task.leased_by != self._host
            )
        )
        return [(found, host) for found, host in rows if host is not None]

    @transaction
    def note_stopped(self, session: Session, wish: str, count: int) -> None:
        """Count what a message that asked to stop its conversation has stopped, for its answer."""
        session.execute(update(Task).where(Task.id == wish).values(stopped=Task.stopped + count))

    @transaction
    def carrier(self, session: Session, task: str) -> str:
        """The task that works on a message: the one that it was merged into, or its own."""
        return session.scalar(select(Task.merged_into).where(Task.id == task)) or task

    @transaction
    def finish_waiting(self, session: Session, reply: Reply, reason: str) -> bool:
        """Answer a task that still waits in the queue, in one transaction; False when it has left it."""
        task = _held(session, reply.id)
        if task is None or task.state != "queued":
            return False
        _answer_waiting(session, task, reply, reason)
        return True

    @transaction
    def unused_since(self, session: Session, moment: datetime) -> list[str]:
        """Conversations of this host without a message or a task since then, longest unused first."""
        busy = select(Task.conversation).where(Task.state.not_in(FINAL_STATES))
        found = session.scalars(
            select(Conversation.id)
            .where(Conversation.last_activity_at < moment, self._may_have, Conversation.id.not_in(busy))
            .order_by(Conversation.last_activity_at)
        )
        return list(found)

    @transaction
    def forget(self, session: Session, conversation: str, moment: datetime) -> bool:
        """Remove a conversation with its tasks and replies, unless it has been used since that moment."""
        tasks = select(Task.id).where(Task.conversation == conversation)
        unsent = select(OutgoingReply.task).where(OutgoingReply.published_at.is_(None))
        busy = tasks.where(or_(Task.state.not_in(FINAL_STATES), Task.id.in_(unsent)))
        found = session.scalar(
            select(Conversation)
            .where(Conversation.id == conversation, Conversation.last_activity_at < moment, ~busy.exists())
            .with_for_update()
        )
        if found is None:
            return False
        session.execute(delete(OutgoingReply).where(OutgoingReply.task.in_(tasks)))
        session.execute(delete(Task).where(Task.conversation == conversation))
        session.execute(delete(AgentSession).where(AgentSession.conversation == conversation))
        session.delete(found)
        return True

    @transaction
    def history(self, session: Session, task: str, *, unseen: bool = False) -> Sequence[Exchange]:
        """What was said in a task's conversation before it, oldest first, shortened; with `unseen` only what no agent
        may have been handed."""
        return read_history(session, task, unseen=unseen)

    @transaction
    def conversations(self, session: Session) -> set[str]:
        """Every conversation that is known."""
        return set(session.scalars(select(Conversation.id)))

    @transaction
    def unpublished(self, session: Session) -> list[Outgoing]:
        """Replies of this host's conversations, and of those that lie nowhere, that the bus has not acknowledged yet,
        in the order of their tasks."""
        rows = session.execute(
            select(OutgoingReply.reply, Task)
            .join(Task, Task.id == OutgoingReply.task)
            .join(Conversation, Conversation.id == Task.conversation)
            .where(OutgoingReply.published_at.is_(None), self._may_have)
            .order_by(Task.position)
        )
        return [
            Outgoing(
                Reply.model_validate_json(reply),
                task.reason,
                merged_into(session, task),
                task.merged_into or task.id,
            )
            for reply, task in rows
        ]

    @transaction
    def published(self, session: Session, task: str, state: TaskState) -> None:
        """The bus has the reply: the task has reached its final state, if it had none yet."""
        now = utc_now()
        session.execute(update(OutgoingReply).where(OutgoingReply.task == task).values(published_at=now))
        session.execute(
            update(Task).where(Task.id == task, Task.state == "replying").values(state=state, finished_at=now)
        )

    @transaction
    def state(self, session: Session, task: str) -> str | None:
        """A task's state; None when it is unknown."""
        return session.scalar(select(Task.state).where(Task.id == task))

    def _update(self, session: Session, task: str, **values: object) -> None:
        session.execute(
            update(Task).where(Task.id == task, Task.state.in_(ACTIVE), self._leased).values(**values)
        )


def _opening(request: TaskRequest) -> QueuedTask:
    """The first task of a new conversation. Nothing can stand before it, so nothing is asked."""
    return QueuedTask(
        request=request,
        conversation=new_id(),
        agent_session=None,
        attempts=0,
        sandbox=None,
        claimed_at=utc_now(),
        place=1,
    )


def _write(session: Session, opening: list[QueuedTask]) -> None:
    """Conversations that begin, each with its task, in this order; most messages are such, and all of them take two
    statements."""
    if not opening:
        return
    session.execute(
        insert(Conversation),
        [
            {
                "id": task.conversation,
                "repo": task.request.repo,
                "created_at": task.claimed_at,
                "last_activity_at": task.claimed_at,
            }
            for task in opening
        ],
    )
    session.execute(
        insert(Task),
        [
            {
                "id": task.id,
                "conversation": task.conversation,
                "repo": task.request.repo,
                "state": "queued",
                "attempts": 0,
                "request": task.request.model_dump_json(),
                "claimed_at": task.claimed_at,
            }
            for task in opening
        ],
    )
    opening.clear()


def _add(session: Session, request: TaskRequest, conversation: Conversation) -> QueuedTask:
    conversation.last_activity_at = utc_now()
    request = _answered_as_before(session, request, conversation)
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
    session.flush()
    return _placed(session, task, conversation)


def _add_again(session: Session, request: TaskRequest) -> QueuedTask | None:
    task = _held(session, request.id)
    if task is None or task.state != "queued":
        return None  # under way, done, or so long ago that it is forgotten by now
    return _placed(session, task, session.get_one(Conversation, task.conversation))


def _placed(session: Session, task: Task, conversation: Conversation) -> QueuedTask:
    waiting = select(func.count()).where(
        Task.conversation == conversation.id, Task.state == "queued", Task.position <= task.position
    )
    place = session.scalar(waiting)
    turn = bool(session.scalar(select(_is_at_work(conversation)))) or (place or 1) > 1
    return replace(_queued(task, conversation), place=place, waits_for_turn=turn)


def _waiting(session: Session, repo: str, most: int) -> int:
    """How many tasks of a repository wait; beyond `most` they are not counted."""
    some = select(Task.position).where(Task.state == "queued", Task.repo == repo).limit(most)
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def _answer_waiting(session: Session, task: Task, reply: Reply, reason: str) -> None:
    task.state, task.reason = "replying", _storable(reason)
    answer(session, task, reply)


def _at_their_limit(session: Session, max_concurrent: Mapping[str, int]) -> list[str]:
    if not max_concurrent:
        return []
    under_way = select(Task.repo, func.count()).where(Task.state.in_(ACTIVE)).group_by(Task.repo)
    return [
        repo for repo, count in session.execute(under_way) if count >= max_concurrent.get(repo, count + 1)
    ]


def _continued(session: Session, request: TaskRequest) -> Conversation | None:
    """The conversation that a request goes on with; None when it begins one."""
    found = _find(session, request.conversation) if request.conversation else None
    return found if found is not None and found.repo == request.repo else None


def _answered_as_before(session: Session, request: TaskRequest, conversation: Conversation) -> TaskRequest:
    """Answers in a thread come from the address that it was begun to, whichever of ours a later message went to."""
    first = session.scalar(
        select(Task.request).where(Task.conversation == conversation.id).order_by(Task.position).limit(1)
    )
    if first is None:
        return request
    begun_to = TaskRequest.model_validate_json(first).route.from_address
    route = request.route.model_copy(update={"from_address": begun_to})
    return request.model_copy(update={"route": route})


def _find(session: Session, conversation: str) -> Conversation | None:
    """A conversation's row, held until the end of the transaction."""
    return session.get(
        Conversation, conversation, with_for_update={"key_share": True}, populate_existing=True
    )


def _held(session: Session, task: str) -> Task | None:
    """A task as it is while its conversation is held; None when it is unknown."""
    found = session.scalar(select(Task).where(Task.id == task))
    if found is None or _find(session, found.conversation) is None:
        return None
    return session.scalar(select(Task).where(Task.id == task).execution_options(populate_existing=True))


def _is_at_work(conversation: Conversation) -> ColumnElement[bool]:
    return exists().where(Task.conversation == conversation.id, Task.state.in_(ACTIVE))


def _storable(text: str | None) -> str | None:
    """PostgreSQL's text holds every character but one."""
    return None if text is None else text.replace("\0", "\ufffd")


def _queued(task: Task, conversation: Conversation, merged: tuple[TaskRequest, ...] = ()) -> QueuedTask:
    return QueuedTask(
        merged=merged,
        request=TaskRequest.model_validate_json(task.request),
        conversation=conversation.id,
        agent_session=conversation.agent_session,
        attempts=task.attempts,
        sandbox=task.sandbox,
        claimed_at=task.claimed_at,
        stopped=task.stopped,
        lost_with=conversation.lost_with,
    )

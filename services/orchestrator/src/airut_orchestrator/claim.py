"""A request from the bus becomes a row of the database; only then is it acknowledged."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from airut_common.bus import BusUnavailable, Retry
from airut_common.contracts.v1 import Reply, TaskRequest
from airut_orchestrator.acknowledge import Acknowledger
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.reserve import is_disk_full
from airut_orchestrator.stopping import queue_full
from airut_orchestrator.wishes import asks_to_stop

TOGETHER: Final = 64
"""So many requests become one transaction at most."""
RETRY_SECONDS: Final = 2.0
_AWAY: Final = (OperationalError, InterfaceError, NoConnectionFree)
"""Locked, full or gone: nothing is wrong with what was to be written."""

log = structlog.get_logger()


def _too_many(task: QueuedTask) -> Reply | None:
    """The answer to a message that found the queue full; one that asks to stop something is always heard."""
    return None if asks_to_stop(task.request) else queue_full(task)


type _Waiting = tuple[TaskRequest, asyncio.Future[QueuedTask | None]]


class Claim:
    """Handler of `AIRUT_TASKS`."""

    def __init__(
        self,
        store: Store,
        events: TaskEvents,
        acknowledge: Acknowledger,
        *,
        claimed: Callable[[], None],
        has_room: Callable[[], bool],
        wish: Callable[[QueuedTask], Awaitable[None]],
        disk_full: Callable[[], None],
        max_queue: Callable[[], Mapping[str, int]],
        replied: Callable[[], None],
    ) -> None:
        """`claimed` is told that there may be something to start; `has_room` says whether it could begin now; `wish`
        gets a message that asks to stop its conversation; `disk_full` makes some room, so that the task can be taken
        in and refused with a reply; `max_queue` says how many messages of a repository may wait, and `replied`
        is told that the answer to one too many waits to be published."""
        self._store = store
        self._events = events
        self._acknowledge = acknowledge
        self._claimed = claimed
        self._has_room = has_room
        self._wish = wish
        self._disk_full = disk_full
        self._max_queue = max_queue
        self._replied = replied
        self._waiting: list[_Waiting] = []
        self._together = TOGETHER
        self._committing = asyncio.Lock()

    async def __call__(self, request: TaskRequest) -> None:
        """Commit the request; returning acknowledges it. A database that is locked, full or gone is waited for, so that
        what comes first stays first; meanwhile the request stays in the stream."""
        task = await self._commit(request)
        if task is None:
            log.info("task_known", task=request.id)
            await self._later(self._told_of_late(request))
            return
        if asks_to_stop(request):
            await self._later(self._wish(task))
        log.info("task_claimed", task=task.id, repo=request.repo, conversation=task.conversation)
        self._claimed()
        if task.turned_away:
            log.warning("queue_full", repo=request.repo, task=task.id)
            self._replied()
        elif self._is_told(request):
            await self._later(self._acknowledge(task, self._waits_for(task)))
        await self._events.flush()

    def _is_told(self, request: TaskRequest) -> bool:
        return self._acknowledge.wants(request.channel) and not asks_to_stop(request)

    async def _told_of_late(self, request: TaskRequest) -> None:
        """Who died after the commit may have told the author nothing, and the task has begun meanwhile."""
        task = await self._store.unanswered(request.id) if self._is_told(request) else None
        if task is not None:
            await self._acknowledge(task, None)

    async def _later(self, work: Awaitable[None]) -> None:
        try:
            await work
        except BusUnavailable as error:
            raise Retry(f"bus: {error}", timedelta(seconds=RETRY_SECONDS)) from error
        except SQLAlchemyError as error:
            raise Retry(f"database: {type(error).__name__}", timedelta(seconds=RETRY_SECONDS)) from error

    async def _commit(self, request: TaskRequest) -> QueuedTask | None:
        """Whoever's turn it is commits for all that wait: a transaction costs the same for one as for many."""
        done: asyncio.Future[QueuedTask | None] = asyncio.get_running_loop().create_future()
        mine = (request, done)
        self._waiting.append(mine)
        try:
            async with self._committing:
                while not done.done():
                    await self._commit_some()
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        return done.result()

    async def _commit_some(self) -> None:
        some = self._waiting[: self._together]
        try:
            tasks = await self._add([request for request, _ in some])
        except _AWAY as error:
            log.warning("not_claimed", tasks=len(some), reason=str(error.__cause__ or error))
            if is_disk_full(error):
                self._disk_full()
            await asyncio.sleep(RETRY_SECONDS)
            return
        except SQLAlchemyError as error:
            self._refused(some, error)
            return
        for (_, done), task in zip(some, tasks, strict=True):
            if not done.done():
                done.set_result(task)
        self._settled()

    async def _add(self, requests: Sequence[TaskRequest]) -> list[QueuedTask | None]:
        async with self._events.in_order:
            tasks = await self._store.add(*requests, max_queue=self._max_queue(), too_many=_too_many)
            for task in tasks:
                if task is not None:
                    # A second delivery tells it again: the first process may have died before anybody heard of it.
                    self._events.claimed(task, self._waits_for(task))
        return tasks

    def _refused(self, some: Sequence[_Waiting], error: SQLAlchemyError) -> None:
        """One of them cannot be written: alone it is found, and does not stand in the way of others."""
        if len(some) > 1:
            self._together = 1
            return
        ((request, done),) = some
        log.error("not_claimed", task=request.id, reason=str(error.__cause__ or error))
        if not done.done():
            done.set_exception(Retry(f"database: {error}", timedelta(seconds=RETRY_SECONDS)))
        self._settled()

    def _settled(self) -> None:
        self._waiting = [each for each in self._waiting if not each[1].done()]
        if not self._waiting:
            self._together = TOGETHER

    def _waits_for(self, task: QueuedTask) -> Literal["turn", "slot"] | None:
        if task.waits_for_turn:
            return "turn"
        return None if self._has_room() else "slot"

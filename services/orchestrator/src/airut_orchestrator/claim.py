"""A request from the bus becomes a row of the database; only then is it acknowledged."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.bus import Retry
from airut_common.contracts.v1 import TaskRequest
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.reserve import is_disk_full
from airut_orchestrator.wishes import asks_to_stop

AGAIN = timedelta(seconds=2)

log = structlog.get_logger()


class Claim:
    """Handler of `AIRUT_TASKS`."""

    def __init__(
        self,
        store: Store,
        events: TaskEvents,
        *,
        claimed: Callable[[], None],
        has_room: Callable[[], bool],
        wish: Callable[[QueuedTask], Awaitable[None]],
        disk_full: Callable[[], None],
    ) -> None:
        """`claimed` is told that there may be something to start; `has_room` says whether it could begin now; `wish`
        gets a message that asks to stop its conversation; `disk_full` makes some room, so that the task can be taken
        in and refused with a reply."""
        self._store = store
        self._events = events
        self._claimed = claimed
        self._has_room = has_room
        self._wish = wish
        self._disk_full = disk_full

    async def __call__(self, request: TaskRequest) -> None:
        """Commit the request; returning acknowledges it.

        Raises:
            Retry: the database is locked, full or gone; the request stays in the stream.
        """
        try:
            task = await self._store.add(request)
            if task is not None and asks_to_stop(request):
                await self._wish(task)
        except SQLAlchemyError as error:
            log.warning("not_claimed", task=request.id, reason=str(error.__cause__ or error))
            if is_disk_full(error):
                self._disk_full()
            raise Retry(f"database: {type(error).__name__}", AGAIN) from error
        if task is None:
            log.info("task_known", task=request.id)
            return
        log.info("task_claimed", task=task.id, repo=request.repo, conversation=task.conversation)
        # Told before the dispatcher can say anything of it. A second delivery tells it again: the first process
        # may have died before anybody heard of the task.
        self._events.claimed(task, has_room=self._has_room())
        self._claimed()
        await self._events.flush()

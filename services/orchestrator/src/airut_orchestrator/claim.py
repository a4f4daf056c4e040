"""A request from the bus becomes a row of the database; only then is it acknowledged."""

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.bus import Retry
from airut_common.contracts.v1 import TaskRequest
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.dispatcher import Dispatcher
from airut_orchestrator.runner import Runner

log = structlog.get_logger()


class Claim:
    """Handler of `AIRUT_TASKS`."""

    def __init__(self, store: Store, runner: Runner, dispatcher: Dispatcher) -> None:
        self._store = store
        self._runner = runner
        self._dispatcher = dispatcher

    async def __call__(self, request: TaskRequest) -> None:
        """Commit the request; returning acknowledges it.

        Raises:
            Retry: the database is locked or gone; the request stays in the stream.
        """
        try:
            added = await self._store.add(request)
        except SQLAlchemyError as error:
            raise Retry(f"database: {type(error).__name__}") from error
        if added.is_new:
            log.info("task_claimed", task=request.id, repo=request.repo, conversation=added.conversation)
            task = QueuedTask(request, added.conversation, None, 0, request.received_at)
            self._runner.announce(task, "queued")
        self._dispatcher.wake()

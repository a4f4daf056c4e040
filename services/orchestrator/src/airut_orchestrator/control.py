"""What operators ask of a running orchestrator."""

from sqlalchemy.exc import SQLAlchemyError

from airut_common.bus.answers import Endpoint
from airut_common.contracts.v1 import CollectGarbage, GarbageCollected, Refused, StopAnswered, StopTask
from airut_common.contracts.v1.subjects import ANY_HOST, orchestrator_service
from airut_orchestrator.dispatcher import Dispatcher
from airut_orchestrator.retention import Retention


class Control:
    """Answers on the bus."""

    def __init__(self, dispatcher: Dispatcher, retention: Retention) -> None:
        self._dispatcher = dispatcher
        self._retention = retention

    def endpoints(self, host: str) -> dict[str, Endpoint[StopTask] | Endpoint[CollectGarbage]]:
        """For `Bus.serve`."""
        return {
            "stop": Endpoint(orchestrator_service(host, "stop"), StopTask, self.stop_here),
            "stop-anywhere": Endpoint(orchestrator_service(ANY_HOST, "stop"), StopTask, self.stop),
            "gc": Endpoint(orchestrator_service(host, "gc"), CollectGarbage, self.collect),
        }

    async def collect(self, request: CollectGarbage) -> GarbageCollected | Refused:
        """Remove what nobody uses any more."""
        try:
            return await self._retention.collect(dry_run=request.dry_run)
        except SQLAlchemyError as error:
            return _unreadable(error)

    async def stop(self, request: StopTask) -> StopAnswered | Refused:
        """Stop a task, wherever it is."""
        try:
            stopped = await self._dispatcher.stop_task(request.task, request.by)
        except SQLAlchemyError as error:
            return _unreadable(error)
        return StopAnswered(task=request.task, stopped=stopped)

    async def stop_here(self, request: StopTask) -> StopAnswered:
        """Stop a task that this host works on."""
        return StopAnswered(
            task=request.task, stopped=self._dispatcher.stop_running(request.task, request.by)
        )


def _unreadable(error: SQLAlchemyError) -> Refused:
    return Refused(code="unavailable", text=f"the database cannot be read: {error.__cause__ or error}")

"""What operators ask of a running orchestrator."""

from airut_common.bus.answers import Endpoint
from airut_common.contracts.v1 import StopAnswered, StopTask
from airut_common.contracts.v1.subjects import orchestrator_service
from airut_orchestrator.dispatcher import Dispatcher


class Control:
    """Answers on the bus."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def endpoints(self, host: str) -> dict[str, Endpoint[StopTask]]:
        """For `Bus.serve`."""
        return {"stop": Endpoint(orchestrator_service(host, "stop"), StopTask, self.stop)}

    async def stop(self, request: StopTask) -> StopAnswered:
        """Stop a task."""
        stopped = await self._dispatcher.stop_task(request.task, request.by)
        return StopAnswered(task=request.task, stopped=stopped)

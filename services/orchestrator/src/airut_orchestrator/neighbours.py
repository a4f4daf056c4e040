"""Other hosts with an orchestrator on the same database."""

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import StopAnswered, StopTask
from airut_common.contracts.v1.subjects import orchestrator_service
from airut_common.lifecycle import Report
from airut_orchestrator.database.hosts import TakenOver
from airut_orchestrator.dispatcher import LOST_AFTER

ASK_SECONDS = 5.0

log = structlog.get_logger()


class Neighbours:
    """What is asked of them, and what is told of them."""

    def __init__(self, bus: Bus, report: Report) -> None:
        self._bus = bus
        self._report = report

    async def stop(self, host: str, task: str, by: str) -> bool:
        """Ask a host to stop a task that it works on; False when it does not answer, or does not work on it."""
        subject, question = orchestrator_service(host, "stop"), StopTask(task=task, by=by)
        try:
            answer = await self._bus.request(subject, question, StopAnswered, timeout_seconds=ASK_SECONDS)
        except BusUnavailable as error:
            log.warning("host_does_not_answer", host=host, reason=str(error))
            return False
        return isinstance(answer, StopAnswered) and answer.stopped

    async def lost(self, lost: TakenOver) -> None:
        """Tell the operator what was taken over from a host that is gone."""
        text = (
            f"the host {lost.host} has not been seen for {LOST_AFTER.seconds} s: {lost.tasks} tasks are tried again "
            f"elsewhere, {lost.conversations} conversations begin anew with their next message, from what was pushed"
        )
        await self._report("error", "host_lost", text)

"""Stopping a task of the running installation."""

from typing import Final

from pydantic import ValidationError

from airut.errors import UsageError
from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import Refused, StopAnswered, StopTask
from airut_common.contracts.v1.subjects import orchestrator_service

HOST: Final = "local"
BY: Final = "the operator"
_SECONDS: Final = 10.0


async def stop_task(bus: Bus, task: str) -> bool:
    """Ask the orchestrator; False when there is nothing to stop.

    Raises:
        UsageError: it is not a task's id, or the orchestrator does not answer.
    """
    try:
        question = StopTask(task=task, by=BY)
    except ValidationError:
        raise UsageError(f"{task!r} is not the id of a task; the dashboard shows it") from None
    try:
        subject = orchestrator_service(HOST, "stop")
        answer = await bus.request(subject, question, StopAnswered, timeout_seconds=_SECONDS)
    except BusUnavailable as error:
        raise UsageError(f"the orchestrator does not answer ({error}); see `airut status`") from None
    if isinstance(answer, Refused):
        raise UsageError(answer.text)
    return answer.stopped

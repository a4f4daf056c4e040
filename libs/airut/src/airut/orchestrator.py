"""What an operator asks of the running orchestrator."""

from typing import Final

from pydantic import ValidationError

from airut.errors import UsageError
from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import (
    CollectGarbage,
    GarbageCollected,
    Message,
    Refused,
    StopAnswered,
    StopTask,
)
from airut_common.contracts.v1.subjects import orchestrator_service
from airut_common.settings import DEFAULT_HOST

BY: Final = "the operator"
_STOP_SECONDS: Final = 10.0
_COLLECT_SECONDS: Final = 600.0


async def stop_task(bus: Bus, task: str) -> bool:
    """Stop a task; False when there is nothing to stop.

    Raises:
        UsageError: it is not a task's id, or the orchestrator does not answer.
    """
    try:
        question = StopTask(task=task, by=BY)
    except ValidationError:
        raise UsageError(f"{task!r} is not the id of a task; the dashboard shows it") from None
    return (await _ask(bus, "stop", question, StopAnswered, _STOP_SECONDS)).stopped


async def collect_garbage(bus: Bus, *, dry_run: bool) -> GarbageCollected:
    """Remove what nobody uses any more, or only tell what would be removed.

    Raises:
        UsageError: the orchestrator does not answer, or could not.
    """
    return await _ask(bus, "gc", CollectGarbage(dry_run=dry_run), GarbageCollected, _COLLECT_SECONDS)


async def _ask[M: Message](bus: Bus, name: str, question: Message, kind: type[M], seconds: float) -> M:
    try:
        subject = orchestrator_service(DEFAULT_HOST, name)
        answer = await bus.request(subject, question, kind, timeout_seconds=seconds)
    except BusUnavailable as error:
        raise UsageError(f"the orchestrator does not answer ({error}); see `airut status`") from None
    if isinstance(answer, Refused):
        raise UsageError(answer.text)
    return answer

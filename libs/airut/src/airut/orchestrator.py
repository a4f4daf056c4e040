"""What an operator asks of the running orchestrator."""

from typing import Final

from pydantic import ValidationError

from airut.asking import ask
from airut.errors import UsageError
from airut_common.bus import Bus
from airut_common.contracts.v1 import (
    CollectGarbage,
    GarbageCollected,
    StopAnswered,
    StopTask,
)
from airut_common.contracts.v1.subjects import ANY_HOST, orchestrator_service
from airut_common.settings import this_host

_NAME: Final = "orchestrator"
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
    subject = orchestrator_service(ANY_HOST, "stop")
    return (await ask(bus, subject, question, StopAnswered, service=_NAME, seconds=_STOP_SECONDS)).stopped


async def collect_garbage(bus: Bus, *, dry_run: bool) -> GarbageCollected:
    """Remove what nobody uses any more, or only tell what would be removed.

    Raises:
        UsageError: the orchestrator does not answer, or could not.
    """
    subject = orchestrator_service(this_host(), "gc")
    question = CollectGarbage(dry_run=dry_run)
    return await ask(bus, subject, question, GarbageCollected, service=_NAME, seconds=_COLLECT_SECONDS)

"""What the build of an image says, as events of the task that needs it. Bounded: the build decides how much it says."""

from collections.abc import Callable
from typing import Final

from airut_common.contracts.v1 import AgentOutput, utc_now
from airut_orchestrator.database.store import QueuedTask

MAX_CHARACTERS: Final = 64 * 1024
MAX_EVENTS: Final = 500


class BuildOutput:
    """Call it with each piece."""

    def __init__(self, task: QueuedTask, emit: Callable[[AgentOutput], None]) -> None:
        self._task = task
        self._emit = emit
        self._room = MAX_CHARACTERS
        self._seq = 0

    def __call__(self, text: str) -> None:
        """Tell it, as far as there is room."""
        if not text.strip() or self._room <= 0 or self._seq >= MAX_EVENTS:
            return
        shown = text[: self._room]
        self._room -= len(shown)
        self._emit(
            AgentOutput(
                repo=self._task.request.repo,
                task=self._task.id,
                conversation=self._task.conversation,
                at=utc_now(),
                seq=self._seq,
                type="build",
                text=shown,
                truncated=self._room <= 0,
            )
        )
        self._seq += 1

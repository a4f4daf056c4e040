"""How far the copy of a large repository is, as events: at most one in a second, and none where it is quick."""

import time
from collections.abc import Callable
from typing import Final

from airut_common.contracts.v1 import AgentProgress, utc_now
from airut_orchestrator.database.store import QueuedTask

EVERY_SECONDS: Final = 1.0


class RepositoryProgress:
    """Call it with each line that is told."""

    def __init__(self, task: QueuedTask, emit: Callable[[AgentProgress], None]) -> None:
        self._task = task
        self._emit = emit
        self._not_before = time.monotonic() + EVERY_SECONDS

    def __call__(self, line: str) -> None:
        """Tell it, unless something was told in this second."""
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + EVERY_SECONDS
        self._emit(
            AgentProgress(
                repo=self._task.request.repo,
                task=self._task.id,
                conversation=self._task.conversation,
                at=utc_now(),
                activity=f"the repository: {line}",
            )
        )

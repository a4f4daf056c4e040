"""An agent's progress as events: at most one in a second, the latest wins, and an end to them."""

import asyncio
from collections.abc import Callable
from typing import Final

from airut_common.contracts.v1 import AgentProgress, PlanStep, utc_now
from airut_orchestrator.agents import ProgressReader, Said

EVERY_SECONDS: Final = 1.0
SHOWN_STEPS: Final = 30
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of one task, together."""

Emit = Callable[[AgentProgress], None]


class Progress:
    """Tells what a reader understands. Its methods are called in a running event loop."""

    def __init__(
        self, reader: ProgressReader, emit: Emit, *, repo: str, task: str, conversation: str
    ) -> None:
        self._reader = reader
        self._emit = emit
        self._ids = {"repo": repo, "task": task, "conversation": conversation}
        self._told: tuple[str, tuple[PlanStep, ...]] = ("", ())
        self._not_before = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._bytes = 0

    def take(self, said: Said) -> None:
        """Take one thing in that the agent said or did, and tell it now or a moment later."""
        self._reader.take(said)
        if self._later is not None or self._now() == self._told:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._not_before:
            self._tell()
        else:
            self._later = loop.call_at(self._not_before, self._tell)

    def end(self) -> None:
        """The agent is done: what was not told yet is told now, and nothing afterwards."""
        if self._later is not None:
            self._tell()

    def _now(self) -> tuple[str, tuple[PlanStep, ...]]:
        return self._reader.activity, self._reader.plan

    def _tell(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        activity, plan = now = self._now()
        if now == self._told or self._bytes >= MAX_BYTES:
            return
        same = plan == self._told[1]
        event = AgentProgress(
            **self._ids,
            at=utc_now(),
            activity=activity,
            plan=None if same else plan[:SHOWN_STEPS],
            plan_left_out=0 if same else max(len(plan) - SHOWN_STEPS, 0),
        )
        self._told = now
        self._not_before = asyncio.get_running_loop().time() + EVERY_SECONDS
        self._bytes += len(event.encode())
        self._emit(event)

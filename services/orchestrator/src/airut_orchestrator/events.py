"""Events of tasks. They go through the bus's own buffer, in order, and nobody waits for them."""

from collections.abc import Mapping

import structlog

from airut_common.bus import Bus
from airut_common.contracts.v1 import AgentOutput, Reply, TaskState, TaskStateChanged, utc_now
from airut_common.contracts.v1.subjects import task_event
from airut_orchestrator.database.store import QueuedTask

FLUSH_SECONDS = 1.0

log = structlog.get_logger()


class TaskEvents:
    """Publishes what happens to tasks."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish(self, event: TaskStateChanged | AgentOutput) -> None:
        """Hand an event to the bus's own buffer; a drop is logged."""
        if not self._bus.publish_soon(task_event(event.repo, event.task), event):
            log.warning("event_dropped", task=event.task, kind=event.kind)

    def entered(
        self,
        task: QueuedTask,
        state: TaskState,
        *,
        reason: str | None = None,
        sandbox: str | None = None,
        timings: Mapping[str, float] | None = None,
    ) -> None:
        """Publish that a task entered a state."""
        request = task.request
        self.publish(
            TaskStateChanged(
                repo=request.repo,
                task=task.id,
                conversation=task.conversation,
                at=utc_now(),
                state=state,
                channel=request.channel,
                sender=request.sender,
                subject=request.subject,
                sandbox=sandbox,
                reason=reason,
                timings_ms=dict(timings or {}),
            )
        )

    async def flush(self) -> None:
        """Wait a moment until all events so far are stored: before a step after which nobody would publish them."""
        if not await self._bus.flush_soon(FLUSH_SECONDS):
            log.info("events_wait", reason="the bus is away or slow")

    async def finished(self, reply: Reply, state: TaskState, reason: str | None) -> None:
        """Publish a task's last event, after all others of it, and see it stored.

        Raises:
            BusUnavailable: it is not known to be stored.
        """
        await self.flush()
        event = TaskStateChanged(
            repo=reply.repo,
            task=reply.id,
            conversation=reply.conversation,
            at=utc_now(),
            state=state,
            outcome=reply.outcome,
            usage=reply.usage,
            reason=reason,
        )
        await self._bus.publish(task_event(reply.repo, reply.id), event, msg_id=f"finished-{reply.id}")

"""Events of tasks. They go through the bus's own buffer, in order, and nobody waits for them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import Reply, TaskEvent, TaskRequest, TaskState, TaskStateChanged, utc_now
from airut_common.contracts.v1.subjects import task_event
from airut_orchestrator.database.store import QueuedTask

FLUSH_SECONDS = 1.0

log = structlog.get_logger()


class TaskEvents:
    """Publishes what happens to tasks."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.in_order = asyncio.Lock()
        """Held from a change of the queue until it is told. What follows from the change cannot be told before it."""

    def publish(self, event: TaskEvent, *, msg_id: str | None = None) -> None:
        """Hand an event to the bus's own buffer; a drop is logged."""
        if not self._bus.publish_soon(task_event(event.repo, event.task), event, msg_id=msg_id):
            log.warning("event_dropped", task=event.task, kind=event.kind)

    def entered(
        self,
        task: QueuedTask,
        state: TaskState,
        *,
        reason: str | None = None,
        sandbox: str | None = None,
        timings: Mapping[str, float] | None = None,
        agent_version: str | None = None,
        network_sandbox: bool = True,
    ) -> None:
        """Publish that a task entered a state."""
        event = _state(task.request, task.conversation, state)
        more = {
            "sandbox": sandbox,
            "reason": reason,
            "timings_ms": dict(timings or {}),
            "agent_version": agent_version,
            "network_sandbox": network_sandbox,
        }
        self.publish(event.model_copy(update=more))

    def claimed(self, task: QueuedTask, waits_for: Literal["turn", "slot"] | None) -> None:
        """Publish that a message arrived, who sent it, and what it waits for."""
        event = _state(task.request, task.conversation, "queued")
        arrival = {"place": task.place, "waits_for": waits_for, "evidence": task.request.evidence}
        self.publish(event.model_copy(update=arrival))

    def merged(self, task: QueuedTask) -> None:
        """Publish for each message that is handed over together with the task's own that it was merged into it."""
        for request in task.merged:
            self.publish(_merged(request, task.conversation, task.id), msg_id=_merged_id(request.id))

    async def flush(self) -> None:
        """Wait a moment until all events so far are stored: before a step after which nobody would publish them."""
        if not await self._bus.flush_soon(FLUSH_SECONDS):
            log.info("events_wait", reason="the bus is away or slow")

    async def finished(
        self, reply: Reply, state: TaskState, reason: str | None, merged: Sequence[TaskRequest] = ()
    ) -> None:
        """Publish a task's last event, after all others of it, and that of each message that was merged into it, and
        see them stored.

        Raises:
            BusUnavailable: they are not known to be stored.
        """
        async with self.in_order:
            pass  # whoever put the reply into the queue has told of the task now
        if not await self._bus.flush_soon(FLUSH_SECONDS):
            raise BusUnavailable("earlier events of the task wait")
        for request in merged:
            # It was told when the agent began; whoever died in between has told nobody.
            last = _merged(request, reply.conversation, reply.id)
            await self._bus.publish(task_event(request.repo, request.id), last, msg_id=_merged_id(request.id))
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


def _state(request: TaskRequest, conversation: str, state: TaskState) -> TaskStateChanged:
    return TaskStateChanged(
        repo=request.repo,
        task=request.id,
        conversation=conversation,
        at=utc_now(),
        state=state,
        channel=request.channel,
        sender=request.sender,
        subject=request.subject,
    )


def _merged(request: TaskRequest, conversation: str, into: str) -> TaskStateChanged:
    return _state(request, conversation, "merged").model_copy(update={"merged_into": into})


def _merged_id(task: str) -> str:
    """The same for each telling, so that the stream keeps one."""
    return f"merged-{task}"

"""Events of tasks, published without ever waiting."""

import structlog

from airut_common.bus import Bus
from airut_common.contracts.v1 import AgentOutput, TaskStateChanged
from airut_common.contracts.v1.subjects import task_event

log = structlog.get_logger()


class TaskEvents:
    """Publishes what happens to tasks."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish(self, event: TaskStateChanged | AgentOutput) -> None:
        """Hand an event to the bus's own buffer; a drop is logged."""
        if not self._bus.publish_soon(task_event(event.repo, event.task), event):
            log.warning("event_dropped", task=event.task, kind=event.kind)

"""From a stored bus message to an event of the read model. Pure; what cannot be read is skipped, and counted."""

from pydantic import TypeAdapter, ValidationError

from airut_common.contracts.v1 import EgressEvent, ServiceEvent, TaskEvent
from airut_dashboard.model import Entry

_TASK_EVENT: TypeAdapter[TaskEvent] = TypeAdapter(TaskEvent)


def decode_event(subject: str, data: bytes) -> Entry | ServiceEvent | None:
    """The event a message holds, or None when its subject or body is none of ours."""
    tokens = subject.split(".")
    if tokens[:3] != ["airut", "v1", "event"] or len(tokens) < 4:
        return None
    try:
        match tokens[3]:
            case "task":
                return _TASK_EVENT.validate_json(data)
            case "egress":
                return EgressEvent.decode(data)
            case "service":
                return ServiceEvent.decode(data)
    except ValidationError:
        return None
    return None

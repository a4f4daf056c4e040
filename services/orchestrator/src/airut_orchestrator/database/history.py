"""What was said in a conversation, for an agent that has lost its own memory of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from airut_common.contracts.v1 import Reply, TaskRequest
from airut_orchestrator.database.schema import OutgoingReply, Task

MOST: Final = 12
"""So many messages, the newest: older ones are in the repository by now, or of no use."""
TEXT_CHARACTERS: Final = 2_000
"""Of each message and each answer."""


@dataclass(frozen=True)
class Exchange:
    """A message and the answer to it; both shortened."""

    sender: str
    at: datetime
    asked: str
    answered: str
    """Empty where a later message of those that were worked on together has it."""


def read_history(session: Session, task: str) -> Sequence[Exchange]:
    """What came before a task in its conversation, oldest first."""
    this = session.scalars(select(Task).where(Task.id == task)).one_or_none()
    if this is None:
        return ()
    rows = session.execute(
        select(Task.request, OutgoingReply.reply)
        .outerjoin(OutgoingReply, OutgoingReply.task == Task.id)
        .where(Task.conversation == this.conversation, Task.position < this.position)
        .order_by(Task.position.desc())
        .limit(MOST)
    ).all()
    return [_exchange(request, reply) for request, reply in reversed(rows)]


def _exchange(request: str, reply: str | None) -> Exchange:
    asked = TaskRequest.model_validate_json(request)
    answered = Reply.model_validate_json(reply).text if reply is not None else ""
    return Exchange(asked.sender, asked.received_at, _short(asked.text), _short(answered))


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + " […]"

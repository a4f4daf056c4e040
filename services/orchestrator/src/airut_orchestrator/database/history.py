"""What was said in a conversation, for an agent that has lost its own memory of it, or has never seen some of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from airut_common.contracts.v1 import Reply, TaskRequest
from airut_orchestrator.database.schema import OutgoingReply, Task

MOST: Final = 12
"""So many messages, the newest: older ones are in the repository by now, or of no use."""
TEXT_CHARACTERS: Final = 2_000
"""Of each message and each answer."""
_UNSEEN: Final = frozenset({"refused", "failed", "interrupted"})
"""How a message may have ended that no agent was handed."""


@dataclass(frozen=True)
class Exchange:
    """A message and the answer to it; both shortened."""

    sender: str
    at: datetime
    asked: str
    answered: str
    """Empty where a later message of those that were worked on together has it."""


def read_history(session: Session, task: str, *, unseen: bool) -> Sequence[Exchange]:
    """What came before a task in its conversation, oldest first; with `unseen` only what came after the last message
    that an agent has surely been handed."""
    this = session.scalars(select(Task).where(Task.id == task)).one_or_none()
    if this is None:
        return ()
    rows = session.execute(
        select(Task, OutgoingReply.reply)
        .outerjoin(OutgoingReply, OutgoingReply.task == Task.id)
        .where(Task.conversation == this.conversation, Task.position < this.position)
        .order_by(Task.position.desc())
        .limit(MOST)
    ).all()
    replies = {found.id: _parsed(reply) for found, reply in rows}
    chosen = [found for found, _ in rows]
    if unseen:
        chosen = list(takewhile(lambda found: _is_unseen(replies.get(found.merged_into or found.id)), chosen))
    return [_exchange(found.request, replies[found.id]) for found in reversed(chosen)]


def _parsed(reply: str | None) -> Reply | None:
    return None if reply is None else Reply.model_validate_json(reply)


def _is_unseen(reply: Reply | None) -> bool:
    # Only an agent that came to a result has counted its turns.
    return (
        reply is not None and reply.outcome in _UNSEEN and (reply.usage is None or reply.usage.turns is None)
    )


def _exchange(request: str, reply: Reply | None) -> Exchange:
    asked = TaskRequest.model_validate_json(request)
    return Exchange(asked.sender, asked.received_at, _short(asked.text), _short(reply.text if reply else ""))


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + " […]"

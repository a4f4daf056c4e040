"""What goes back to the person who asked."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Identifier, Message, RepoId, Timestamp
from .files import BlobRef
from .task import ChannelName, EmailRoute

Outcome = Literal["done", "failed", "stopped", "timed_out", "interrupted", "refused"]


class Usage(Message):
    """What a task cost."""

    duration_seconds: Annotated[float, Field(ge=0)]
    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


class Acknowledgement(Message):
    """A message was taken in and will be worked on; told at once, where the channel is configured so."""

    id: Identifier
    """The task's."""
    repo: RepoId
    channel: ChannelName
    conversation: Identifier
    place: Annotated[int, Field(ge=1)]
    """1 is next among those of its conversation that wait."""
    waits_for: Literal["turn", "slot"] | None = None
    """The conversation is at work on an earlier message, or nothing is free; None begins now."""
    link: str | None = None
    """The dashboard's page of the task, where the dashboard has a public URL."""
    route: EmailRoute
    created_at: Timestamp


class Reply(Message):
    """The one final answer to a task. `id` is the task's id and the `Nats-Msg-Id` it is published with. An answer to
    several messages goes to each of their authors once, as one of these each."""

    id: Identifier
    repo: RepoId
    channel: ChannelName
    conversation: Identifier
    outcome: Outcome
    text: str
    """Markdown, written by the agent (hostile) or by the orchestrator."""
    notes: tuple[str, ...] = ()
    """Plain lines from the orchestrator: refused outbox files, changed steering files, denied requests."""
    attachments: tuple[BlobRef, ...] = ()
    usage: Usage | None = None
    link: str | None = None
    """The dashboard's page of the task, where the dashboard has a public URL."""
    route: EmailRoute
    created_at: Timestamp

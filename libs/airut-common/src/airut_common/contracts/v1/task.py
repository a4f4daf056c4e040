"""A person, or a schedule, asks for work."""

from typing import Annotated, Literal

from pydantic import JsonValue, StringConstraints

from .base import Identifier, Message, RepoId, Timestamp
from .files import BlobRef

ChannelName = Literal["email", "slack", "schedule"]


class EmailEvidence(Message):
    """Why a mail's author is believed."""

    kind: Literal["email"] = "email"
    method: Literal["dmarc", "arc", "trusted-header"]
    domain: str
    """The From domain that passed with alignment, as an A-label."""
    detail: str
    """One line for people: which mechanism passed, for which identifier."""
    rule: str
    """The address or domain that allowed the sender."""
    group: str | None = None
    """The group that the rule stands in; None: it stands in the repository's own list."""
    record: dict[str, JsonValue] | None = None
    """The whole decision as `airut mail verify --json` prints it; None in requests of older gateways."""


class EmailRoute(Message):
    """How an answer finds its way back into a mail thread."""

    kind: Literal["email"] = "email"
    recipient: str
    """The verified author; never Reply-To or Cc."""
    from_address: str
    """The repository's own address, which the author wrote to."""
    subject: str
    in_reply_to: str | None = None
    """Message-ID of the mail being answered, with its angle brackets."""
    references: tuple[str, ...] = ()
    question: str = ""
    """What the author wrote, or its beginning; shown below the answer."""


class TaskRequest(Message):
    """One message of one conversation. `id` is derived from the source, so a redelivery has the same id."""

    id: Identifier
    repo: RepoId
    channel: ChannelName
    conversation: Identifier | None = None
    """None begins a new conversation."""
    sender: str
    """Who asks, in the channel's own terms: an address, a Slack user id, a schedule's name."""
    evidence: EmailEvidence
    subject: str = ""
    text: Annotated[str, StringConstraints(max_length=512 * 1024)]
    attachments: tuple[BlobRef, ...] = ()
    model: str | None = None
    """A model hint; None means the repository's default."""
    route: EmailRoute
    received_at: Timestamp
    accepted_at: Timestamp | None = None
    """When the channel acknowledged it (SMTP 250)."""

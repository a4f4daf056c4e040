"""What every v1 message shares: tolerant reading, strict writing, identifiers fit for subjects."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints

#: A repository id is a subject token, a folder name and a container label: nothing else may stand in it.
REPO_ID_PATTERN = r"[a-z0-9][a-z0-9-]{0,39}"
RepoId = Annotated[str, StringConstraints(pattern=rf"^{REPO_ID_PATTERN}$")]

#: Ids of requests, tasks, conversations, sandboxes: lower-case letters, digits and dashes.
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Timestamp = AwareDatetime


class Message(BaseModel):
    """A frozen value that crosses the bus. Readers ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="float")

    def encode(self) -> bytes:
        """The message as UTF-8 JSON."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse UTF-8 JSON.

        Raises:
            pydantic.ValidationError: when it is not JSON or not this message.
        """
        return cls.model_validate_json(data)


def new_id() -> str:
    """128 random bits as 32 hex digits: unguessable, and fit for subjects, paths and labels."""
    return secrets.token_hex(16)


def utc_now() -> datetime:
    """The present, in UTC and aware of it."""
    return datetime.now(UTC)

"""What the service asks a worker, and what that says: one JSON object each, on its standard input and output."""

from pydantic import BaseModel, ConfigDict


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Said):
    """What is to be done."""

    parent: int
    """The service, with which the worker ends."""
    mail: int
    """The descriptor of the mail."""
    files: int
    """The descriptor of an empty file, which takes the attachments, one behind the other."""
    ours: tuple[str, ...]
    continues: bool
    memory_bytes: int
    """Address space that it may have at most."""
    cpu_seconds: int


class File(_Said):
    """A file that came along."""

    name: str
    media_type: str
    size_bytes: int


class Refusal(_Said):
    """What the mail's sender is told."""

    code: int
    status: str
    text: str


class Answer(_Said):
    """What has come out."""

    subject: str = ""
    text: str = ""
    question: str = ""
    files: tuple[File, ...] = ()
    refused: Refusal | None = None
    peak_bytes: int
    """Memory that the worker held at its peak."""

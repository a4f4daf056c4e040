"""Events on their way from a worker to the service, encoded once: by the worker that has seen what they tell."""

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import ValidationError

from .messages import BatchHead

MAX_EVENT: Final = 256 * 1024
"""Many times the longest event."""


class BadBatch(Exception):
    """What a worker sent is no batch."""


def event_line(sandbox: str, number: int, encoded: bytes) -> bytes:
    """One event. JSON that is written compactly has no line feed in it."""
    return b"%s %d %s" % (sandbox.encode("ascii"), number, encoded)


def encode_batch(head: BatchHead, lines: Iterable[bytes]) -> bytes:
    """The body of a frame."""
    return b"\n".join((head.model_dump_json().encode(), *lines))


def read_head(body: bytes) -> tuple[BatchHead, bytes]:
    """What a batch says of its worker, and its events.

    Raises:
        BadBatch: it says nothing that can be read.
    """
    head, _, events = body.partition(b"\n")
    try:
        return BatchHead.model_validate_json(head), events
    except ValidationError:
        raise BadBatch("a head that is none") from None


def read_events(events: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Sandbox, number and JSON of each event. The JSON is passed on as it is: nobody here looks into it.

    Raises:
        BadBatch: a line is no event.
    """
    try:
        # What is spooled has to be text; once for all of them costs little.
        events.decode()
    except UnicodeDecodeError:
        raise BadBatch("an event that is no text") from None
    for line in events.split(b"\n") if events else ():
        sandbox, _, rest = line.partition(b" ")
        number, _, encoded = rest.partition(b" ")
        if not number.isdigit() or len(number) > 18 or not encoded or len(encoded) > MAX_EVENT:
            raise BadBatch("a line that is no event")
        yield sandbox.decode(), int(number), encoded

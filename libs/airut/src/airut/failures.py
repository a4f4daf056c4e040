"""What could not be handled or delivered: dead letters, as an operator reads them."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from airut_common.bus import Bus
from airut_common.bus.topology import DEAD, REPLIES, TASKS
from airut_common.contracts.v1 import DeadLetter, Reply, TaskRequest

SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """One message that was given up. Everything in it may be a stranger's words."""

    at: str
    what: str
    reason: str
    """For a mail, the relay's words."""


async def read_failures(bus: Bus) -> tuple[Failure, ...]:
    """The last ones, newest first; they are kept for 14 days.

    Raises:
        airut_common.bus.BusUnavailable: no answer.
    """
    return tuple(_readable(await bus.newest(DEAD.name, SHOWN)))


def _readable(letters: list[bytes]) -> Iterator[Failure]:
    for data in letters:
        try:
            letter = DeadLetter.decode(data)
        except ValidationError:
            continue  # not written by a service of ours
        yield Failure(letter.at.isoformat(timespec="seconds"), _what(letter), letter.reason)


def _what(letter: DeadLetter) -> str:
    try:
        if letter.stream == REPLIES.name:
            reply = Reply.decode(letter.payload.encode())
            return f"the answer {reply.id} of {reply.repo} to {reply.route.recipient}"
        if letter.stream == TASKS.name:
            request = TaskRequest.decode(letter.payload.encode())
            return f"the request {request.id} of {request.repo} from {request.sender}"
    except ValidationError:
        pass  # cut short, or what was wrong with it in the first place
    return f"a message on {letter.subject}"

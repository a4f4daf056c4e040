"""DATA as it comes: dots undone, limits held, nothing kept of a mail that will not be taken."""

import asyncio

from airut_gateway_email.errors import MailError, MailRefused
from airut_gateway_email.spool import Incoming

_LINE_END = b"\r\n"


class Flooding(MailRefused):
    """The client sends far more than it may, and need not be heard out."""


async def receive(reader: asyncio.StreamReader, into: Incoming, *, max_bytes: int, max_line: int) -> None:
    """Read a mail to its final dot, also one that is refused: a client listens only then (RFC 5321 §3.3).

    Args:
        reader: The connection.
        into: Takes the mail.
        max_bytes: As they come, added dots included. Who sends twice as much is not heard out.
        max_line: Characters of a line, its end included.

    Raises:
        Flooding: hang up.
        MailError: the mail is too large, has too long a line, or there is no room for it.
    """
    problem: MailError | None = None
    count = 0
    at_line_start = True
    while True:
        line, whole = await _line(reader)
        if at_line_start and line == b"." + _LINE_END:
            break
        count += len(line)
        if count > 2 * max_bytes:
            raise Flooding(f"the mail is larger than {max_bytes} bytes", code=552, status="5.3.4")
        if problem is None:
            problem = _problem(count, max_bytes, long=not whole or len(line) > max_line)
            if problem is None:
                problem = await _add(into, line[1:] if line.startswith(b".") else line)
            if problem is not None:
                into.close()
        at_line_start = whole
    if problem is not None:
        raise problem


async def _line(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """A line, or a part of one that is too long for the buffer; whether the line ends with it."""
    try:
        return await reader.readuntil(_LINE_END), True
    except asyncio.LimitOverrunError as error:
        return await reader.read(error.consumed), False


def _problem(count: int, max_bytes: int, *, long: bool) -> MailError | None:
    if count > max_bytes:
        return MailRefused(f"the mail is larger than {max_bytes} bytes", code=552, status="5.3.4")
    if long:
        return MailRefused(
            "the mail has a line of more than 998 characters (RFC 5321 4.5.3.1.6)", status="5.6.0"
        )
    return None


async def _add(into: Incoming, line: bytes) -> MailError | None:
    try:
        await into.add(line)
    except MailError as error:
        return error
    return None

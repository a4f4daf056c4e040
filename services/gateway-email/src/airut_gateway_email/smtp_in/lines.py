"""Lines of commands as RFC 5321 §2.3.8 wants them: CRLF ends a line, and nothing else is a line end to anybody."""

import asyncio
from collections.abc import Callable
from typing import Any, Self, override


class BareLineEnd(ConnectionResetError):
    """The client has sent a CR or LF that is no part of a CRLF; nothing more is read from it."""


class StrictLines(asyncio.StreamReader):
    """A stream whose lines must end with CRLF. aiosmtpd takes a LF alone, so that what another server passes on as one
    line, within an address for instance, would be two commands here."""

    refuse: Callable[[], None]
    overlong: bool
    """Within a line that was too long, of which aiosmtpd drops the rest."""

    @classmethod
    def of(cls, reader: asyncio.StreamReader, refuse: Callable[[], None]) -> Self:
        """The same stream, read strictly; `refuse` says so to the client before `BareLineEnd` is raised."""
        strict = cls.__new__(cls)
        strict.__dict__ = (
            reader.__dict__
        )  # one state: aiosmtpd and asyncio go on with the reader that they have
        strict.refuse, strict.overlong = refuse, False
        return strict

    @override
    async def readuntil(self, separator: Any = b"\n") -> bytes:
        overlong, self.overlong = self.overlong, False
        try:
            line = await super().readuntil(separator)
        except asyncio.LimitOverrunError:
            self.overlong = True
            raise
        if separator == b"\n" and not overlong and not (line.endswith(b"\r\n") and line.count(b"\r") == 1):
            self.refuse()
            raise BareLineEnd
        return line


def is_unicode(text: str | None) -> bool:
    """Whether a text was read from UTF-8; aiosmtpd reads anything else as surrogates."""
    return text is None or not any("\ud800" <= character <= "\udfff" for character in text)

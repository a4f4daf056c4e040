"""How a mail can fail to become a task. Both carry what the sending server is told.

MailError
├── MailRefused   5xx: never, as it is
└── MailLater     4xx: not now; the sending server tries again
"""

import re

_UNSPEAKABLE = re.compile(r"[^\x20-\x7e]+")
LONGEST_ANSWER = 400
"""RFC 5321 §4.5.3.1.5 allows 512 octets for a reply line, code and CRLF included."""


class MailError(Exception):
    """An answer that is not 250."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.status = status
        """Enhanced status code (RFC 3463)."""

    def smtp_answer(self) -> str:
        """One line of printable ASCII, fit for the wire."""
        return f"{self.code} {self.status} {printable(str(self))[:LONGEST_ANSWER]}"


class MailRefused(MailError):
    """This mail will never be a task."""

    def __init__(self, text: str, *, code: int = 550, status: str = "5.7.1") -> None:
        super().__init__(code, status, text)


def undecodable(why: str) -> MailRefused:
    """The refusal of a mail that cannot be read, for whatever reason."""
    return MailRefused(f"the mail cannot be decoded: {why}", code=554, status="5.6.0")


class MailLater(MailError):
    """This mail cannot be judged or stored at the moment."""

    def __init__(self, text: str, *, code: int = 451, status: str = "4.4.3") -> None:
        super().__init__(code, status, text)


def secret_missing(name: str) -> str:
    """What the operator is told of a secret that nobody has set."""
    return f"the secret {name} is not set; run `airut secret set`"


def printable(text: str) -> str:
    """Text of a stranger made fit for one line of an answer, a log or an event."""
    return _UNSPEAKABLE.sub("?", text)

"""Pure: the bytes of a mail, split into header fields and body, with nothing left to interpretation.

Every later step reads these fields. What parsers are known to read in different ways
is refused here instead of being repaired: bare CR and LF, NUL, 8-bit header fields, nameless lines, doubled headers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

MAX_HEADER_BYTES = 256 * 1024
MAX_FIELDS = 500

#: RFC 5322 §3.6: at most one of each. A copy added after signing would be read but is not what was signed.
SINGLETONS = frozenset(
    {
        "from", "sender", "reply-to", "to", "cc", "bcc", "date", "subject", "message-id", "in-reply-to", "references",
        "mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id",
        "auto-submitted", "precedence",
    }
)  # fmt: skip

_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+):")
_FORBIDDEN_IN_HEADER = re.compile(rb"[^\x09\x0d\x0a\x20-\x7e]")


class BadMessage(ValueError):
    """No mail that every reader understands alike; the text says why."""


@dataclass(frozen=True)
class Field:
    """One header field."""

    name: str
    """In lower case."""
    value: str
    """Unfolded and stripped; printable ASCII and tabs only."""
    raw: bytes
    """As it came, with its folding and without the last CRLF."""


@dataclass(frozen=True)
class RawMail:
    """A mail whose form is beyond doubt."""

    data: bytes
    """All of it, CRLF line ends only."""
    fields: tuple[Field, ...]

    def all(self, name: str) -> Iterator[str]:
        """Values of a field, topmost first."""
        return (field.value for field in self.fields if field.name == name)

    def first(self, name: str) -> str | None:
        """The topmost value of a field."""
        return next(self.all(name), None)

    @cached_property
    def body(self) -> bytes:
        """Everything behind the empty line."""
        return self.data.partition(b"\r\n\r\n")[2]


def parse_message(data: bytes) -> RawMail:
    """Split a mail that has each of `SINGLETONS` at most once, and a From.

    Raises:
        BadMessage: it is ambiguous, or it is no mail.
    """
    mail = split_message(data)
    _refuse_doubles(mail.fields)
    return mail


def split_message(data: bytes) -> RawMail:
    """Split a mail; its headers may be doubled.

    Raises:
        BadMessage: its lines or header fields are not well formed.
    """
    if not data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n"):
        # RFC 5321 §2.3.8; the root of SMTP smuggling (VU#302671, CVE-2024-27305).
        raise BadMessage("it contains a bare CR or LF")
    if b"\0" in data:
        raise BadMessage("it contains a NUL byte")
    head = data.partition(b"\r\n\r\n")[0]
    if data.startswith(b"\r\n"):
        raise BadMessage("it has no header fields")
    if len(head) > MAX_HEADER_BYTES:
        raise BadMessage(f"its header is over {MAX_HEADER_BYTES // 1024} KiB")
    if _FORBIDDEN_IN_HEADER.search(head):
        raise BadMessage("its header contains control characters or unencoded 8-bit characters")
    return RawMail(data, tuple(_split_fields(head)))


def _split_fields(head: bytes) -> Iterator[Field]:
    lines: list[bytes] = []
    count = 0
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            if not lines:
                raise BadMessage("its header begins with a continuation line")
            lines.append(line)
            continue
        if lines:
            yield _field(lines)
        if line:
            count += 1
            if count > MAX_FIELDS:
                raise BadMessage(f"it has more than {MAX_FIELDS} header fields")
        lines = [line] if line else []
    if lines:
        yield _field(lines)


def _field(lines: list[bytes]) -> Field:
    match = _FIELD.match(lines[0])
    if match is None:
        raise BadMessage("its header has a line that is no field")
    value = b"".join([lines[0][match.end() :], *lines[1:]])
    return Field(match[1].decode().lower(), value.decode().strip(" \t"), b"\r\n".join(lines))


def _refuse_doubles(fields: tuple[Field, ...]) -> None:
    seen: set[str] = set()
    for field in fields:
        if field.name in seen:
            raise BadMessage(f"it has more than one {field.name.title()} header")
        if field.name in SINGLETONS:
            seen.add(field.name)
    if "from" not in seen:
        raise BadMessage("it has no From header")

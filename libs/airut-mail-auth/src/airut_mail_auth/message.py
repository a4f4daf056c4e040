"""Pure: the bytes of a mail, split into header fields and body, with nothing left to interpretation.

Every later step reads these fields. What parsers are known to read in different ways is refused here instead of being
repaired: bare CR and LF, NUL, header fields that are no UTF-8 (RFC 6532), nameless lines, doubled headers.
"""

import hashlib
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from airut_mail_auth.body import body_form

PIECE_BYTES = 64 * 1024
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

_HEADER_END = b"\r\n\r\n"
_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+):")
_FORBIDDEN_IN_HEADER = re.compile("[^\x09\x0d\x0a\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\ufeff]")


class BadMessage(ValueError):
    """No mail that every reader understands alike; the text says why."""


@dataclass(frozen=True)
class Field:
    """One header field."""

    name: str
    """In lower case."""
    value: str
    """Unfolded and stripped, without control characters other than tabs."""
    raw: bytes
    """As it came, with its folding and without the last CRLF."""


class Source(Protocol):
    """Where the bytes of a mail lie."""

    def pieces(self, begin: int = 0) -> Generator[bytes]:
        """All from `begin` on, in pieces that are never empty; as often as one asks, in any thread."""


@dataclass(frozen=True)
class InMemory:
    """A mail that is held whole."""

    data: bytes

    def pieces(self, begin: int = 0) -> Generator[bytes]:
        """All from `begin` on."""
        for start in range(begin, len(self.data), PIECE_BYTES):
            yield self.data[start : start + PIECE_BYTES]


@dataclass(frozen=True)
class RawMail:
    """A mail whose form is beyond doubt."""

    source: Source
    """All of it, CRLF line ends only."""
    fields: tuple[Field, ...]
    body_at: int
    body_sha256: str
    """Of the body's relaxed form: what may change under a signature (RFC 6376 §3.4.4) makes no other mail of it."""

    def all(self, name: str) -> Iterator[str]:
        """Values of a field, topmost first."""
        return (field.value for field in self.fields if field.name == name)

    def first(self, name: str) -> str | None:
        """The topmost value of a field."""
        return next(self.all(name), None)

    def body(self) -> Iterator[bytes]:
        """Everything behind the empty line, in pieces."""
        return self.source.pieces(self.body_at)


def parse_message(data: bytes | Source) -> RawMail:
    """Split a mail that has each of `SINGLETONS` at most once, and a From. Reads all of it, and holds the header.

    Raises:
        BadMessage: it is ambiguous, or it is no mail.
    """
    mail = split_message(data)
    _refuse_doubles(mail.fields)
    return mail


def split_message(data: bytes | Source) -> RawMail:
    """Split a mail; its headers may be doubled.

    Raises:
        BadMessage: its lines or header fields are not well formed.
    """
    source = InMemory(data) if isinstance(data, bytes) else data
    _check_lines(source.pieces())
    with closing(source.pieces()) as pieces:  # it is not read to its end
        head, body_at = _head(pieces)
    _check_head(head)
    digest = hashlib.sha256()
    for piece in body_form(source.pieces(body_at), relaxed=True):
        digest.update(piece)
    return RawMail(source, tuple(_split_fields(head)), body_at, digest.hexdigest())


def _check_lines(pieces: Iterable[bytes]) -> None:
    returns = feeds = ends = nuls = 0
    last = b""
    for piece in pieces:
        returns += piece.count(b"\r")
        feeds += piece.count(b"\n")
        ends += piece.count(b"\r\n") + (last == b"\r" and piece.startswith(b"\n"))
        nuls += b"\0" in piece
        last = piece[-1:]
    if not returns == feeds == ends:
        # RFC 5321 §2.3.8; the root of SMTP smuggling (VU#302671, CVE-2024-27305).
        raise BadMessage("it contains a bare CR or LF")
    if nuls:
        raise BadMessage("it contains a NUL byte")


def _head(pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """The header, and where the body begins."""
    begin = bytearray()
    end = -1
    for piece in pieces:
        begin += piece
        end = begin.find(_HEADER_END)
        if end >= 0 or len(begin) >= MAX_HEADER_BYTES + len(_HEADER_END):
            break
    head, body_at = (begin, len(begin)) if end < 0 else (begin[:end], end + len(_HEADER_END))
    if begin.startswith(b"\r\n"):
        raise BadMessage("it has no header fields")
    if len(head) > MAX_HEADER_BYTES:
        raise BadMessage(f"its header is over {MAX_HEADER_BYTES // 1024} KiB")
    return bytes(head), body_at


def _check_head(head: bytes) -> None:
    try:
        text = head.decode()
    except UnicodeDecodeError:
        raise BadMessage("its header contains 8-bit characters that are no UTF-8") from None
    if _FORBIDDEN_IN_HEADER.search(text):
        raise BadMessage("its header contains control characters")


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

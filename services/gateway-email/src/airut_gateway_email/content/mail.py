"""Pure: an authenticated mail -> what its author asks, and the files that came along.

Only the text that a mail program shows as the message becomes the instruction. An HTML *file* is a file (row 69).
"""

import email.errors
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesFeedParser
from email.policy import Compat32, Policy
from typing import override

from airut_gateway_email.content.charsets import decode_text, decode_words
from airut_gateway_email.content.flowed import unflow
from airut_gateway_email.content.names import made_up_name, media_type_of, shown_name
from airut_gateway_email.content.secured import SMIME, encrypted, opaque_content, without_armour
from airut_gateway_email.content.stylesheets import TooIntricateError
from airut_gateway_email.content.visible import clean_text, html_to_text
from airut_gateway_email.content.winmail import TNEF, unpack
from airut_gateway_email.errors import MailRefused, undecodable
from airut_gateway_email.rawmail import RawMail

MAX_DEPTH = 20
MAX_PARTS = 300
MAX_ATTACHMENTS = 100
MAX_PARAMETERS = 300
"""Of a header; the standard library's time is quadratic in them."""
MAX_HTML_BYTES = 1024 * 1024
MAX_TAGS = 20_000
MAX_SUBJECT = 300

_INVITATION = "text/calendar"
_ENCODINGS = frozenset({"7bit", "8bit", "binary", "quoted-printable", "base64"})
_SIGNATURES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")
_FATAL_DEFECTS = (
    email.errors.NoBoundaryInMultipartDefect,
    email.errors.StartBoundaryNotFoundDefect,
    email.errors.MultipartInvariantViolationDefect,
    email.errors.InvalidMultipartContentTransferEncodingDefect,
    email.errors.InvalidBase64PaddingDefect,
    email.errors.InvalidBase64CharactersDefect,
    email.errors.InvalidBase64LengthDefect,
)


class _Utf8(Compat32):
    """The parser as it is, but headers in UTF-8 (RFC 6532) are read as such, and none that takes long to read."""

    @override
    def header_fetch_parse(self, name: str, value: str) -> str:
        if value.count(";") > MAX_PARAMETERS:
            raise undecodable(f"the header {name[:40]} of a part has too many parameters")
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_POLICY = _Utf8()


@dataclass(frozen=True)
class Attachment:
    """A file that came with a mail."""

    name: str
    """For people; made safe to show, still hostile to a file system."""
    media_type: str
    data: bytes


@dataclass(frozen=True)
class IncomingMail:
    """What a mail asks."""

    subject: str
    text: str
    attachments: tuple[Attachment, ...]


@dataclass
class _Collected:
    texts: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    parts: int = 0

    @property
    def has_text(self) -> bool:
        return any(map(str.strip, self.texts))

    def parse(self, pieces: Iterable[bytes]) -> Message:
        """The parts of a mail, or of what one encloses; no more of them are made than are allowed."""
        parser = BytesFeedParser(self._part, policy=_POLICY)  # type: ignore[arg-type]  # it is called with a policy
        for piece in pieces:
            parser.feed(piece)
        return parser.close()

    def _part(self, *, policy: Policy) -> Message:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise undecodable("it has too many parts")
        return Message(policy)


def read_mail(mail: RawMail) -> IncomingMail:
    """Take a mail apart.

    Raises:
        MailRefused: it cannot be decoded, is a MIME bomb, or is empty.
    """
    collected = _Collected()
    try:
        _collect(collected.parse(mail.source.pieces()), collected, depth=0, is_body=True)
    except RecursionError:
        raise undecodable("its parts are nested too deeply") from None
    text = clean_text("\n\n".join(part for part in collected.texts if part.strip()))
    if not text and not collected.attachments:
        raise MailRefused(
            "the mail is empty: write what should be done, or attach a file", code=550, status="5.6.0"
        )
    subject = decode_words(mail.first("subject") or "")[:MAX_SUBJECT]
    return IncomingMail(subject, text, tuple(collected.attachments))


def _collect(part: Message, into: _Collected, *, depth: int, is_body: bool) -> None:
    if depth > MAX_DEPTH:
        raise undecodable("its parts are nested too deeply")
    _check(part)
    if is_body and part.get_content_type() == "multipart/encrypted":
        raise encrypted()
    if not part.is_multipart() or part.get_content_maintype() != "multipart":
        _collect_leaf(part, into, depth=depth, is_body=is_body)
        return
    children = [child for child in part.get_payload() if isinstance(child, Message)]
    chosen = _chosen(part.get_content_subtype(), children) if is_body else ()
    for child in children:
        if (
            part.get_content_subtype() == "alternative"
            and is_body
            and child not in chosen
            and _is_text(child)
            and child.get_content_type() != _INVITATION
        ):
            continue  # the same text in another form
        if child.get_content_type() in _SIGNATURES and part.get_content_subtype() == "signed":
            continue
        _collect(child, into, depth=depth + 1, is_body=child in chosen)


def _chosen(subtype: str, children: Sequence[Message]) -> tuple[Message, ...]:
    """Which children make up the message text."""
    if subtype == "alternative":
        texts = [child for child in children if not _is_file(child)]
        plain = [child for child in texts if child.get_content_type() == "text/plain" and _has_content(child)]
        rich = [child for child in texts if child.get_content_type() != _INVITATION]
        return tuple(plain[:1] or rich[-1:] or texts[-1:])
    if subtype in ("related", "signed"):
        return tuple(children[:1])
    if subtype in ("mixed", "report", "digest", "parallel"):
        return tuple(children)
    return tuple(children[:1])


def _collect_leaf(part: Message, into: _Collected, *, depth: int, is_body: bool) -> None:
    kind = part.get_content_type()
    if is_body and kind in SMIME and (depth == 0 or not _is_file(part) or _raw_name(part) == "smime.p7m"):
        _collect(into.parse([opaque_content(_content(part))]), into, depth=depth + 1, is_body=True)
    elif kind in TNEF:
        _collect_winmail(part, into, is_body=is_body)
    elif is_body and not _is_file(part) and kind == "text/plain":
        into.texts.append(_plain(part))
    elif is_body and not _is_file(part) and kind == "text/html" and not into.has_text:
        into.texts.append(_html(part))
    else:
        _collect_file(part, into)


def _plain(part: Message) -> str:
    text = decode_text(_content(part), part.get_content_charset())
    if _parameter(part, "format") == "flowed":
        text = unflow(text, delete_space=_parameter(part, "delsp") == "yes")
    return without_armour(text)


def _parameter(part: Message, name: str) -> str:
    value = part.get_param(name, "")
    return value.lower() if isinstance(value, str) else ""


def _html(part: Message) -> str:
    return _visible(_content(part), part.get_content_charset())


def _visible(data: bytes, charset: str | None) -> str:
    refusal = "its HTML text is too long or too intricate; send plain text or attach a file"
    if len(data) > MAX_HTML_BYTES or data.count(b"<") > MAX_TAGS:
        raise undecodable(refusal)
    try:
        return html_to_text(decode_text(data, charset))
    except TooIntricateError:
        raise undecodable(refusal) from None


def _collect_winmail(part: Message, into: _Collected, *, is_body: bool) -> None:
    """Outlook's own container; one that cannot be read is a file like any other."""
    found = unpack(_content(part))
    if found is None:
        _collect_file(part, into)
        return
    if is_body and not into.has_text:
        into.texts.append(found.text or (_visible(found.html, None) if found.html else ""))
    for name, data in found.files:
        _add_file(into, name, media_type_of(name), data)


def _collect_file(part: Message, into: _Collected) -> None:
    kind = part.get_content_type()
    kind = kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"
    _add_file(into, _raw_name(part) or "", kind, _content(part))


def _add_file(into: _Collected, name: str, kind: str, data: bytes) -> None:
    if len(into.attachments) >= MAX_ATTACHMENTS:
        raise undecodable(f"it has more than {MAX_ATTACHMENTS} attachments")
    shown = shown_name(name) or made_up_name(kind, len(into.attachments) + 1)
    into.attachments.append(Attachment(shown, kind, data))


def _is_file(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or _raw_name(part) is not None


def _is_text(part: Message) -> bool:
    return part.get_content_maintype() in ("text", "multipart") and not _is_file(part)


def _has_content(part: Message) -> bool:
    return bool(_content(part).strip())


def _content(part: Message) -> bytes:
    if part.get_content_maintype() == "message" and part.is_multipart():
        try:
            return b"".join(inner.as_bytes() for inner in part.get_payload() if isinstance(inner, Message))
        except (ValueError, LookupError, TypeError, AttributeError, KeyError):
            raise undecodable("an enclosed mail cannot be read") from None
    data = part.get_payload(decode=True)
    _check(part)  # base64 is looked at only now
    return data if isinstance(data, bytes) else b""


def _check(part: Message) -> None:
    encoding = str(part.get("content-transfer-encoding", "7bit")).split(";")[0].strip().lower()
    if encoding and encoding not in _ENCODINGS:
        raise undecodable("a part has an unknown transfer encoding")
    for defect in part.defects:
        if isinstance(defect, _FATAL_DEFECTS):
            raise undecodable(f"a part is broken ({type(defect).__name__.removesuffix('Defect')})")


def _raw_name(part: Message) -> str | None:
    try:
        return part.get_filename()
    except (ValueError, LookupError, TypeError):
        return "unreadable"

"""Pure: an authenticated mail -> what its author asks, and the files that came along.

Only the text that a mail program shows as the message becomes the instruction. An HTML *file* is a file (row 69).
"""

import codecs
import email
import email.errors
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.message import Message

from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.visible import clean_text, html_to_text

MAX_DEPTH = 20
MAX_PARTS = 300
MAX_ATTACHMENTS = 100
MAX_HTML_BYTES = 1024 * 1024
MAX_TAGS = 20_000
MAX_SUBJECT = 300
MAX_NAME = 200

_INVITATION = "text/calendar"
_ENCODINGS = frozenset({"7bit", "8bit", "binary", "quoted-printable", "base64"})
_SIGNATURES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")
_MULTIPART = re.compile(rb"^content-type:\s*multipart/", re.IGNORECASE | re.MULTILINE)
_UNSAFE_IN_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
#: Python codecs that are no character sets: some raise whatever the error handler says, some run long.
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"})
_FATAL_DEFECTS = (
    email.errors.NoBoundaryInMultipartDefect,
    email.errors.StartBoundaryNotFoundDefect,
    email.errors.MultipartInvariantViolationDefect,
    email.errors.InvalidMultipartContentTransferEncodingDefect,
    email.errors.InvalidBase64PaddingDefect,
    email.errors.InvalidBase64CharactersDefect,
    email.errors.InvalidBase64LengthDefect,
)


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


def read_mail(mail: RawMail) -> IncomingMail:
    """Take a mail apart.

    Raises:
        MailRefused: it cannot be decoded, is a MIME bomb, or is empty.
    """
    if len(_MULTIPART.findall(mail.data)) > MAX_PARTS:
        raise _undecodable("it has too many parts")
    collected = _Collected()
    try:
        _collect(email.message_from_bytes(mail.data), collected, depth=0, is_body=True)
    except RecursionError:
        raise _undecodable("its parts are nested too deeply") from None
    text = clean_text("\n\n".join(part for part in collected.texts if part.strip()))
    if not text and not collected.attachments:
        raise MailRefused(
            "the mail is empty: write what should be done, or attach a file", code=550, status="5.6.0"
        )
    subject = decode_words(mail.first("subject") or "")[:MAX_SUBJECT]
    return IncomingMail(subject, text, tuple(collected.attachments))


def decode_words(value: str) -> str:
    """A header value with its encoded words (RFC 2047) decoded, on one line. Never fails."""
    try:
        decoded = str(make_header(decode_header(value)))
    except (LookupError, ValueError, email.errors.HeaderParseError):
        decoded = value
    decoded = decoded.encode("utf-8", "replace").decode()
    return " ".join(clean_text(decoded).split())


def decode_text(data: bytes, charset: str | None) -> str:
    """Text of a part. An unknown or lying character set costs characters, never the mail."""
    try:
        codec = codecs.lookup(charset or "utf-8")
        if codec._is_text_encoding and codec.name.replace("_", "-") not in _NO_CHARSETS:
            return _western(data) if codec.name == "iso8859-1" else data.decode(codec.name)
    except (LookupError, ValueError):
        pass  # unknown, or not what it says: see below
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _western(data) if charset is None else data.decode("utf-8", "replace")


def _western(data: bytes) -> str:
    """What calls itself ISO-8859-1 is Windows-1252 nearly always, and everybody reads it so (WHATWG Encoding §4.2)."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _collect(part: Message, into: _Collected, *, depth: int, is_body: bool) -> None:
    into.parts += 1
    if into.parts > MAX_PARTS:
        raise _undecodable("it has too many parts")
    if depth > MAX_DEPTH:
        raise _undecodable("its parts are nested too deeply")
    _check(part)
    if not part.is_multipart() or part.get_content_maintype() != "multipart":
        _collect_leaf(part, into, is_body=is_body)
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
    if subtype in ("related", "signed", "encrypted"):
        return tuple(children[:1])
    if subtype in ("mixed", "report", "digest", "parallel"):
        return tuple(children)
    return tuple(children[:1])


def _collect_leaf(part: Message, into: _Collected, *, is_body: bool) -> None:
    kind = part.get_content_type()
    if is_body and not _is_file(part) and kind == "text/plain":
        into.texts.append(decode_text(_content(part), part.get_content_charset()))
    elif is_body and not _is_file(part) and kind == "text/html" and not any(map(str.strip, into.texts)):
        into.texts.append(_html(part))
    else:
        _collect_file(part, into)


def _html(part: Message) -> str:
    data = _content(part)
    if len(data) > MAX_HTML_BYTES or data.count(b"<") > MAX_TAGS:
        raise _undecodable("its HTML text is too long or too intricate; send plain text or attach a file")
    return html_to_text(decode_text(data, part.get_content_charset()))


def _collect_file(part: Message, into: _Collected) -> None:
    if len(into.attachments) >= MAX_ATTACHMENTS:
        raise _undecodable(f"it has more than {MAX_ATTACHMENTS} attachments")
    kind = part.get_content_type()
    data = _content(part)
    name = _file_name(part, len(into.attachments) + 1)
    into.attachments.append(
        Attachment(name, kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream", data)
    )


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
            raise _undecodable("an enclosed mail cannot be read") from None
    data = part.get_payload(decode=True)
    _check(part)  # base64 is looked at only now
    return data if isinstance(data, bytes) else b""


def _check(part: Message) -> None:
    encoding = str(part.get("content-transfer-encoding", "7bit")).split(";")[0].strip().lower()
    if encoding and encoding not in _ENCODINGS:
        raise _undecodable("a part has an unknown transfer encoding")
    for defect in part.defects:
        if isinstance(defect, _FATAL_DEFECTS):
            raise _undecodable(f"a part is broken ({type(defect).__name__.removesuffix('Defect')})")


def _raw_name(part: Message) -> str | None:
    try:
        return part.get_filename()
    except (ValueError, LookupError, TypeError):
        return "unreadable"


def _file_name(part: Message, number: int) -> str:
    """A name to show: one line, no path, no control or direction characters."""
    name = unicodedata.normalize("NFC", decode_words(_raw_name(part) or ""))
    name = _UNSAFE_IN_NAME.sub("_", name).strip(" .")
    if name:
        return name if len(name) <= MAX_NAME else name[: MAX_NAME // 2] + "…" + name[-MAX_NAME // 4 :]
    ending = {"text/html": "html", "text/plain": "txt", "message/rfc822": "eml", _INVITATION: "ics"}.get(
        part.get_content_type(), "bin"
    )
    return f"attachment-{number}.{ending}"


def _undecodable(why: str) -> MailRefused:
    return MailRefused(f"the mail cannot be decoded: {why}", code=554, status="5.6.0")

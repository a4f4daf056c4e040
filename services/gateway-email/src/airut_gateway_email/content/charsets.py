"""Pure: bytes and encoded words -> text, whatever character set they claim."""

import codecs
import email.errors
from email.header import decode_header, make_header

from airut_gateway_email.content.visible import clean_text

MAX_ENCODED = 8 * 1024
"""Characters of a header that are decoded: far more than is shown, and the standard library's time is quadratic."""

#: Python codecs that are no character sets: some raise whatever the error handler says, some run long.
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"})


def decode_words(value: str) -> str:
    """A header value with its encoded words (RFC 2047) decoded, on one line. Never fails."""
    value = value[:MAX_ENCODED]
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

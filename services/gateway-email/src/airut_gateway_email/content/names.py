"""Pure: names of files that came with a mail, made fit to be shown. To a file system they are hostile still."""

import mimetypes
import re
import unicodedata

from airut_gateway_email.content.charsets import decode_words

MAX_NAME = 200

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
#: The library's own tables alone: the host's would make names differ from machine to machine.
_TYPES = mimetypes.MimeTypes(filenames=())
_ENDINGS = {"message/rfc822": ".eml", "text/calendar": ".ics"}


def shown_name(name: str) -> str:
    """One line, no path, no control or direction characters. Perhaps empty."""
    name = unicodedata.normalize("NFC", decode_words(name))
    name = _UNSAFE.sub("_", name).strip(" .")
    return name if len(name) <= MAX_NAME else name[: MAX_NAME // 2] + "…" + name[-MAX_NAME // 4 :]


def made_up_name(kind: str, number: int) -> str:
    """For a file without a name, by its media type."""
    return f"attachment-{number}{_ENDINGS.get(kind) or _TYPES.guess_extension(kind) or '.bin'}"


def media_type_of(name: str) -> str:
    """By the ending of a file's name."""
    return _TYPES.guess_type(name)[0] or "application/octet-stream"

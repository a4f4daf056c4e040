"""Pure: tag lists, `name=value; name=value` (RFC 6376 §3.2). DKIM, ARC and key records are written in them."""

import base64
import binascii
import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e \t]*")
_SPACE = " \t"


class BadTags(ValueError):
    """Not a tag list."""


def parse_tags(text: str) -> dict[str, str]:
    """The tags in order. `text` is unfolded; a tag that comes twice makes the whole list invalid.

    Raises:
        BadTags: it is not a tag list.
    """
    specs = text.split(";")
    if not specs[-1].strip(_SPACE):
        specs.pop()  # one semicolon may end the list
    tags: dict[str, str] = {}
    for spec in specs:
        name, equals, value = (part.strip(_SPACE) for part in spec.partition("="))
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadTags("a tag is malformed")
        if name in tags:
            raise BadTags(f"the tag {name} comes twice")
        tags[name] = value
    if not tags:
        raise BadTags("there is no tag")
    return tags


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 value with white space in it.

    Raises:
        BadTags: it has other characters, or a wrong length.
    """
    try:
        return base64.b64decode(re.sub(r"[ \t]+", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise BadTags("a value is not base64") from None

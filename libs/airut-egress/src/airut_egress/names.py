"""Host names in one canonical form: lower-case A-labels, no trailing dot, never an address.

Whatever a sandbox sends as a name (Host header, SNI, URL, DNS question) passes through `canonical_host`
before it is compared with anything, so that two spellings of one name cannot be judged differently.
"""

import re
from typing import Final

import idna

MAX_NAME_LENGTH: Final = 253  # RFC 1035 §2.3.4: 255 octets on the wire
MAX_LABEL_LENGTH: Final = 63

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?", re.ASCII)
# WHATWG URL "ends in a number": what inet_aton reads as an address has such a last label, and no
# top-level domain does, so nothing that looks like a number in any base is ever taken for a name.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
# UTS 46 reads these as label separators beside the full stop.
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})


class BadName(ValueError):
    """The text is not a host name; the message says why, without quoting the text."""


class AddressLiteral(BadName):
    """The text is an IP address in one of its notations, and not a name."""


def is_address_literal(text: str) -> bool:
    """Whether a host is an address in any notation: dotted, decimal, hex, octal, short, IPv6, mapped."""
    host = text.strip().translate(_DOTS).removesuffix(".")
    if ":" in host or host.startswith("["):
        return True
    return _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) is not None


def canonical_host(raw: str | bytes) -> str:
    """The one form of a host name.

    Raises:
        AddressLiteral: an IP address in any notation (field notes 2).
        BadName: anything else that is not a host name: user info, ports, NUL, empty or long labels.
    """
    text = _decode(raw).translate(_DOTS)
    name = text if text.isascii() else _to_ascii(text)
    name = name.lower().removesuffix(".")
    if not name:
        raise BadName("the name is empty")
    if is_address_literal(name):
        raise AddressLiteral("an IP address is not a name")
    if len(name) > MAX_NAME_LENGTH:
        raise BadName(f"the name is longer than {MAX_NAME_LENGTH} characters")
    for label in name.split("."):
        _check_label(label)
    return name


def _decode(raw: str | bytes) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadName("the name is not UTF-8") from None


def _to_ascii(text: str) -> str:
    if (
        len(text) > MAX_NAME_LENGTH
    ):  # an A-label is never shorter than its U-label; IDNA costs grow with length
        raise BadName(f"the name is longer than {MAX_NAME_LENGTH} characters")
    try:
        return idna.encode(text, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise BadName("the name is not a valid internationalized domain name") from None


def _check_label(label: str) -> None:
    if not label:
        raise BadName("the name has an empty label")
    if len(label) > MAX_LABEL_LENGTH:
        raise BadName(f"a label is longer than {MAX_LABEL_LENGTH} characters")
    if _LABEL.fullmatch(label) is None:
        raise BadName("the name has a character that host names do not have")

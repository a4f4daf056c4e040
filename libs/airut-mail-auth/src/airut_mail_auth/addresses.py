"""Pure: mail addresses and domains in one canonical form, and the strict reading of a From header.

Only what every reader understands alike is accepted: a dot-atom before the @, a host name of letters, digits and dashes
behind it. Comments, groups, routes, quoted local parts, address literals and lists are refused rather than interpreted.

International addresses (RFC 6531, 6532) are such, too: letters, marks and digits of any script before the @, and behind
it a domain in U-labels, which is the same as in A-labels.
"""

import re
import unicodedata
from dataclasses import dataclass

import idna

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: A display name (RFC 5322 §3.4 `phrase`, with the dots that everybody writes): words and quoted strings.
_NAME = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~. \t\x80-\U0010ffff-]|\"(?:[^\"\\]|\\.)*\")*")
_MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
MAX_ADDRESS = 254
MAX_LOCAL_OCTETS = 64
"""RFC 5321 §4.5.3.1.1; held against international ones only, which grow when they are written down."""
MAX_FROM = 2000


class BadAddress(ValueError):
    """Not an address we understand; the text says why."""


@dataclass(frozen=True)
class Address:
    """A mailbox: local part and domain in lower case, the local part in NFC, the domain as A-labels."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def canonical_domain(text: str) -> str:
    """A host name in lower-case A-labels without a trailing dot.

    Raises:
        BadAddress: it is none.
    """
    domain = text.lower()
    if not domain.isascii():
        try:
            # Strict: only a dot divides labels, and no character stands for another one.
            domain = idna.encode(unicodedata.normalize("NFC", domain), strict=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise BadAddress(f"{text!r} is not a domain") from None
    labels = domain.split(".")
    if len(domain) > 253 or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise BadAddress(f"{text!r} is not a domain")
    if labels[-1].isdigit():
        raise BadAddress(f"{text!r} is an IP address, not a domain")
    for label in labels:
        _check_a_label(label)
    return domain


def _check_a_label(label: str) -> None:
    """A label that claims to be encoded must decode: nobody can have registered it otherwise."""
    if label.startswith("xn--"):
        try:
            idna.decode(label)
        except (idna.IDNAError, UnicodeError):
            raise BadAddress(f"{label!r} is not a valid A-label") from None


def parse_address(text: str) -> Address:
    """Read `local@domain`.

    Raises:
        BadAddress: it is not exactly that.
    """
    local, at, domain = text.rpartition("@")
    if not at or len(text) > MAX_ADDRESS or not _LOCAL.fullmatch(local):
        raise BadAddress(f"{text!r} is not a plain address")
    return Address(_canonical_local(local), canonical_domain(domain))


def _canonical_local(text: str) -> str:
    if text.isascii():
        return text.lower()
    if not all(character.isascii() or _is_international(character) for character in text):
        raise BadAddress(f"{text!r} has characters that no address has")
    local = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        raise BadAddress(f"{text!r} is too long")
    return local


def _is_international(character: str) -> bool:
    """A letter, mark or digit that never becomes an ASCII one: nobody is to have the name of somebody else, such as
    by a Kelvin sign for a K."""
    lowered = unicodedata.normalize("NFC", character).lower()
    return unicodedata.category(character)[0] in "LMN" and not any(map(str.isascii, lowered))


def parse_from(value: str) -> Address:
    """The one author of a From header: `addr` or `Name <addr>`. The name is not looked at.

    Raises:
        BadAddress: no mailbox, several, a group, a comment, or anything else that could be read in two ways.
    """
    text = value.strip(" \t")
    if len(text) > MAX_FROM:
        raise BadAddress("it is too long")
    match = _MAILBOX.fullmatch(text)
    if match is None:
        return parse_address(text)
    if not _NAME.fullmatch(match["name"]):
        raise BadAddress("its display name is not a plain name")
    return parse_address(match["address"])

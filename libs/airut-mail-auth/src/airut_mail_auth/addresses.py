"""Pure: mail addresses and domains in one canonical form, and the strict reading of a From header.

Only what every reader understands alike is accepted: a dot-atom before the @, a host name of letters, digits and dashes
behind it. Comments, groups, routes, quoted local parts, address literals and lists are refused rather than interpreted.
"""

import re
from dataclasses import dataclass

import idna

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: A display name (RFC 5322 §3.4 `phrase`, with the dots that everybody writes): words and quoted strings.
_NAME = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~. \t-]|\"(?:[^\"\\]|\\.)*\")*")
_MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
MAX_ADDRESS = 254
MAX_FROM = 2000


class BadAddress(ValueError):
    """Not an address we understand; the text says why."""


@dataclass(frozen=True)
class Address:
    """A mailbox: local part and domain in lower case, the domain as A-labels."""

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
            domain = idna.encode(domain, uts46=True).decode()
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
    return Address(local.lower(), canonical_domain(domain))


def parse_from(value: str) -> Address:
    """The one author of a From header: `addr` or `Name <addr>`. The name is not looked at.

    Raises:
        BadAddress: no mailbox, several, a group, a comment, or anything else that could be read in two ways.
    """
    text = value.strip(" \t")
    if len(text) > MAX_FROM:
        raise BadAddress("it is too long")
    if not text.isascii():
        raise BadAddress("it has unencoded characters")
    match = _MAILBOX.fullmatch(text)
    if match is None:
        return parse_address(text)
    if not _NAME.fullmatch(match["name"]):
        raise BadAddress("its display name is not a plain name")
    return parse_address(match["address"])

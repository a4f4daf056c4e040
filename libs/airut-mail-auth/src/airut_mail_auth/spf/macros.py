"""Pure: domain specifications with macros (RFC 7208 §7)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

_PIECE = re.compile(
    r"(?P<literal>[\x21-\x24\x26-\x7e]+)|%(?P<escape>[%_-])|"
    r"%\{(?P<letter>[slodiphv])(?P<digits>[0-9]*)(?P<reverse>r?)(?P<delimiters>[.\-+,/_=]*)\}",
    re.IGNORECASE,
)
_TOP_LABEL = re.compile(r"\.(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])\.?", re.IGNORECASE)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_MAX_DOMAIN = 253


class SpfSyntax(ValueError):
    """A record that is not well formed: permerror."""


@dataclass(frozen=True)
class Macro:
    """One `%{…}`."""

    letter: str
    """In lower case."""
    url_escape: bool
    count: int
    """Parts to keep, from the right; 0 keeps all."""
    reverse: bool
    delimiters: str


@dataclass(frozen=True)
class MacroString:
    """Text with macros in it."""

    parts: tuple[str | Macro, ...]

    def uses(self, letter: str) -> bool:
        """Whether a macro of this letter occurs."""
        return any(isinstance(part, Macro) and part.letter == letter for part in self.parts)

    def expand(self, values: Mapping[str, str]) -> str:
        """The text with the value of each letter put in."""
        return "".join(part if isinstance(part, str) else _expanded(part, values) for part in self.parts)


def parse_macros(text: str) -> MacroString:
    """§7.1 `macro-string`.

    Raises:
        SpfSyntax: it is none.
    """
    parts: list[str | Macro] = []
    position = 0
    while position < len(text):
        match = _PIECE.match(text, position)
        if match is None:
            raise SpfSyntax("a macro is malformed")
        position = match.end()
        if match["literal"]:
            parts.append(match["literal"])
        elif match["escape"]:
            parts.append(_ESCAPES[match["escape"]])
        else:
            parts.append(_macro(match))
    return MacroString(tuple(parts))


def parse_domain_spec(text: str) -> MacroString:
    """§7.1 `domain-spec`: a macro-string that ends in a macro or in a top label.

    Raises:
        SpfSyntax: it does not.
    """
    parsed = parse_macros(text)
    if not parsed.parts:
        raise SpfSyntax("a domain is missing")
    ends_in_macro = isinstance(parsed.parts[-1], Macro) or text[-2:] in ("%%", "%_", "%-")
    if not ends_in_macro and not _TOP_LABEL.fullmatch(_last_label(text)):
        raise SpfSyntax("a domain is malformed")
    return parsed


def _last_label(text: str) -> str:
    """With the dot before it and one behind it, if there are."""
    dot = text.removesuffix(".").rfind(".")
    return text[dot:] if dot >= 0 else ""


def _macro(match: re.Match[str]) -> Macro:
    count = int(match["digits"][:9] or 0)
    if match["digits"] and not count:
        raise SpfSyntax("a macro keeps no part")
    letter = match["letter"]
    return Macro(letter.lower(), letter.isupper(), count, bool(match["reverse"]), match["delimiters"] or ".")


def _expanded(macro: Macro, values: Mapping[str, str]) -> str:
    pieces = re.split(f"[{re.escape(macro.delimiters)}]", values[macro.letter])
    if macro.reverse:
        pieces.reverse()
    text = ".".join(pieces[-macro.count :] if macro.count else pieces)
    return quote(text, safe="-._~") if macro.url_escape else text


def dotted(address: IPv4Address | IPv6Address) -> str:
    """`i`: IPv4 as it is written, IPv6 as 32 nibbles with dots between them."""
    return str(address) if address.version == 4 else ".".join(f"{int(address):032x}")


def shortened(domain: str) -> str:
    """§7.3: without labels on the left until it fits into the DNS; without the last dot."""
    domain = domain.removesuffix(".")
    while len(domain) > _MAX_DOMAIN and "." in domain:
        domain = domain.partition(".")[2]
    return domain


def is_domain(domain: str) -> bool:
    """Whether this can be asked of the DNS. What an international local part was written into cannot (RFC 8616 §4)."""
    return (
        domain.isascii()
        and len(domain) <= _MAX_DOMAIN
        and all(0 < len(label) < 64 for label in domain.split("."))
    )

"""Pure: SPF records (RFC 7208 §4.5, §4.6, §5, §6). A syntax error anywhere makes the whole record a permerror."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from airut_mail_auth.spf.macros import MacroString, SpfSyntax, parse_domain_spec, parse_macros

Qualified = Literal["pass", "fail", "softfail", "neutral"]
Name = Literal["all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"]

_VERSION = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9._-]*)=(.*)", re.IGNORECASE)
_MECHANISM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)([:/].*)?", re.IGNORECASE)
_LENGTHS = re.compile(r"(?P<rest>.*?)(?:/(?P<v4>0|[1-9][0-9]?))?(?://(?P<v6>0|[1-9][0-9]{0,2}))?")
_QUALIFIERS: dict[str, Qualified] = {"+": "pass", "": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_NETWORK = {
    "ip4": re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:/(?:0|[1-9][0-9]?))?"),
    "ip6": re.compile(r"[0-9a-f:.]+(?:/(?:0|[1-9][0-9]{0,2}))?", re.IGNORECASE),
}
MAX_TERMS = 500


@dataclass(frozen=True)
class Mechanism:
    """One term that may match."""

    result: Qualified
    name: Name
    domain: MacroString | None = None
    """None: the domain under test."""
    network: IPv4Network | IPv6Network | None = None
    prefix_v4: int = 32
    prefix_v6: int = 128

    @property
    def looks_up(self) -> bool:
        """Whether it counts towards the limit of §4.6.4."""
        return self.name in ("include", "a", "mx", "ptr", "exists")


@dataclass(frozen=True)
class SpfRecord:
    """What a domain says about the addresses that send in its name."""

    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None


def select_record(texts: Sequence[bytes]) -> str | None:
    """The one SPF record among TXT records; None when there is none (§4.5).

    Raises:
        SpfSyntax: there are several, or it is not ASCII.
    """
    records = [raw for raw in texts if _VERSION.match(raw.decode("latin-1"))]
    if len(records) > 1:
        raise SpfSyntax("there are several records")
    if records and not records[0].isascii():
        raise SpfSyntax("the record is not ASCII")
    return records[0].decode() if records else None


def parse_record(text: str) -> SpfRecord:
    """Read a record that `select_record` chose.

    Raises:
        SpfSyntax: it is malformed.
    """
    terms = [term for term in text[len("v=spf1") :].split(" ") if term]
    if len(terms) > MAX_TERMS:
        raise SpfSyntax("the record has too many terms")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for term in terms:
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            mechanisms.append(_mechanism(term))
            continue
        name = modifier[1].lower()
        if name not in ("redirect", "exp"):
            parse_macros(modifier[2])  # unknown ones are ignored if they are well formed (§6)
        elif name in modifiers:
            raise SpfSyntax(f"{name} comes twice")
        else:
            modifiers[name] = parse_domain_spec(modifier[2])
    return SpfRecord(tuple(mechanisms), modifiers.get("redirect"))


def _mechanism(term: str) -> Mechanism:
    match = _MECHANISM.fullmatch(term)
    if match is None:
        raise SpfSyntax("a term is unknown or malformed")
    result, rest = _QUALIFIERS[match[1]], match[3] or ""
    match match[2].lower():
        case "all" if not rest:
            return Mechanism(result, "all")
        case "include" | "exists" as name if rest.startswith(":"):
            return Mechanism(result, name, parse_domain_spec(rest[1:]))
        case "ptr":
            return Mechanism(result, "ptr", _optional_domain(rest))
        case "a" | "mx" as name:
            return _address_mechanism(result, name, rest)
        case "ip4" | "ip6" as name if _NETWORK[name].fullmatch(rest[1:]) and rest.startswith(":"):
            return Mechanism(result, name, network=_network(rest[1:], 4 if name == "ip4" else 6))
    raise SpfSyntax("a mechanism is malformed")


def _address_mechanism(result: Qualified, name: Literal["a", "mx"], rest: str) -> Mechanism:
    lengths = _LENGTHS.fullmatch(rest)
    if lengths is None:
        raise SpfSyntax("a prefix length is malformed")
    v4, v6 = int(lengths["v4"] or 32), int(lengths["v6"] or 128)
    if v4 > 32 or v6 > 128:
        raise SpfSyntax("a prefix length is too large")
    return Mechanism(result, name, _optional_domain(lengths["rest"]), prefix_v4=v4, prefix_v6=v6)


def _optional_domain(rest: str) -> MacroString | None:
    if not rest:
        return None
    if not rest.startswith(":"):
        raise SpfSyntax("a mechanism is malformed")
    return parse_domain_spec(rest[1:])


def _network(text: str, version: int) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise SpfSyntax("a network is malformed") from None
    if network.version != version:
        raise SpfSyntax("a network is malformed")
    return network

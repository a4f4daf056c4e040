"""Pure: the author as judged by the operator's own mail server, in its Authentication-Results (RFC 8601).

Anybody can write such a header. It counts only when the mail comes directly from a configured network, and then only
the topmost one of the configured server: that server puts its own above whatever arrived.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from airut_mail_auth.addresses import BadAddress, canonical_domain
from airut_mail_auth.authres.grammar import (
    MAX_LENGTH,
    AuthResults,
    BadResults,
    parse_results,
    read_authserv_id,
)
from airut_mail_auth.message import RawMail
from airut_mail_auth.record import HeaderEvidence, Proof, Rule

HEADER = "authentication-results"


@dataclass(frozen=True)
class TrustedServer:
    """Whose results are believed."""

    authserv_id: str
    """Its name in its headers; `*.` in front stands for one more label, as Fastmail's servers have it. Empty: it writes
    no name, as Microsoft 365 does, and then its header must be the topmost of all."""
    networks: Sequence[str]
    """CIDR networks that it delivers from."""


@dataclass(frozen=True)
class HeaderFinding:
    """The outcome: exactly one of `proof` and `problem` is there."""

    evidence: HeaderEvidence
    rule: Rule
    proof: Proof | None = None
    problem: str = ""


def judge_header(mail: RawMail, author_domain: str, peer: str, server: TrustedServer) -> HeaderFinding:
    """Take over the result of the operator's server, if it is the one that delivers."""
    if not is_inside(peer, server.networks):
        why = f"{peer} is not among the mail servers whose authentication results are believed"
        return HeaderFinding(_nothing(server.authserv_id), "untrusted-peer", problem=why)
    return judge_believed(mail, author_domain, server.authserv_id, peer)


def judge_believed(mail: RawMail, author_domain: str, authserv_id: str, source: str) -> HeaderFinding:
    """Take over the result of the operator's server for a mail that is known to come from it; `source` says whence."""
    name = authserv_id or "the trusted server"
    nothing = _nothing(authserv_id)
    value = _own_header(mail, authserv_id)
    if value is None:
        why = f"the mail has no Authentication-Results of {name}"
        return HeaderFinding(nothing, "no-result", problem=why)
    results = _parse(value, without_id=not authserv_id)
    result, domain = dmarc_result(results) if results is not None else (None, None)
    evidence = nothing.model_copy(
        update={"value": value[:MAX_LENGTH], "dmarc": result, "header_from": domain}
    )
    if result != "pass" or domain is None:
        why = f"{name} reports no single dmarc=pass for this mail"
        return HeaderFinding(evidence, "no-result", problem=why)
    if domain != author_domain:
        why = f"{name} reports dmarc=pass for another domain than {author_domain}"
        return HeaderFinding(evidence, "no-result", problem=why)
    detail = f"dmarc=pass reported by {name} at {source}"
    proof = Proof(method="trusted-header", domain=author_domain, detail=detail, direct=True)
    return HeaderFinding(evidence, "trusted-header", proof)


def _nothing(authserv_id: str) -> HeaderEvidence:
    return HeaderEvidence(authserv_id=authserv_id, value=None, dmarc=None, header_from=None)


def dmarc_result(results: AuthResults) -> tuple[str | None, str | None]:
    """Result and `header.from` of DMARC, each None unless there is exactly one."""
    found = [result for result in results.results if result.method == "dmarc"]
    if len(found) != 1:
        return None, None
    values = found[0].values("header", "from")
    try:
        domain = canonical_domain(values[0].rpartition("@")[2]) if len(values) == 1 else None
    except BadAddress:
        domain = None
    return found[0].result, domain


def is_inside(peer: str, networks: Sequence[str]) -> bool:
    """Whether an address belongs to one of the networks."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in _networks(networks))


def _networks(texts: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            continue  # a network that is none contains nobody
    return networks


def _own_header(mail: RawMail, authserv_id: str) -> str | None:
    values = mail.all(HEADER)
    if not authserv_id:
        topmost = next(values, None)
        return topmost if topmost is not None and read_authserv_id(topmost) is None else None
    return next((text for text in values if _is_named(read_authserv_id(text), authserv_id)), None)


def _is_named(name: str | None, wanted: str) -> bool:
    if name is None:
        return False
    name, wanted = name.lower(), wanted.lower()
    if wanted.startswith("*."):
        return name.partition(".")[1:] == (".", wanted[2:]) and not name.startswith(".")
    return name == wanted


def _parse(value: str, *, without_id: bool) -> AuthResults | None:
    try:
        return parse_results(value, without_id=without_id)
    except BadResults:
        return None

"""Pure: the author as judged by the operator's own mail server, in its Authentication-Results (RFC 8601).

Anybody can write such a header. It counts only when the mail comes directly from a configured network, and then only
the topmost one with the configured authserv-id: that server puts its own above whatever arrived.
"""

# mypy: allow-untyped-calls
# (authres has no types)

import ipaddress
import re
from collections.abc import Sequence

import authres

from airut_gateway_email.addresses import BadAddress, canonical_domain
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.sender_auth.verdict import Proof

_SERVER = re.compile(r"[ \t]*([!-:<-~]+)(?:[ \t]+1)?[ \t]*;")
MAX_VALUE = 8192


def read_trusted_header(
    mail: RawMail, author_domain: str, peer: str, *, authserv_id: str, networks: Sequence[str]
) -> Proof:
    """Take over the result of the operator's server.

    Raises:
        MailRefused: the peer is not that server, or its result is not an aligned pass for this author.
    """
    if not _inside(peer, networks):
        raise MailRefused(f"{peer} is not among the mail servers whose authentication results are believed")
    value = next((text for text in mail.all("authentication-results") if _is_from(text, authserv_id)), None)
    if value is None:
        raise MailRefused(f"the mail has no Authentication-Results of {authserv_id}")
    domains = _dmarc_pass_domains(value)
    if len(domains) != 1:
        raise MailRefused(f"{authserv_id} reports no single dmarc=pass for this mail")
    if domains[0] != author_domain:
        raise MailRefused(f"{authserv_id} reports dmarc=pass for another domain than {author_domain}")
    return Proof("trusted-header", author_domain, f"dmarc=pass reported by {authserv_id} at {peer}")


def _inside(peer: str, networks: Sequence[str]) -> bool:
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


def _is_from(value: str, authserv_id: str) -> bool:
    match = _SERVER.match(value)
    return match is not None and match[1].lower() == authserv_id.lower()


def _dmarc_pass_domains(value: str) -> list[str]:
    """The `header.from` of each DMARC result, if all of them are passes; nothing otherwise."""
    if len(value) > MAX_VALUE:
        return []
    try:
        header = authres.core_features().parse_value(value)
        results = [result for result in header.results if result.method.lower() == "dmarc"]
        if any(result.result.lower() != "pass" for result in results):
            return []
        return [
            canonical_domain(item.value)
            for result in results
            for item in result.properties
            if (item.type.lower(), item.name.lower()) == ("header", "from")
        ]
    except (authres.core.AuthResError, BadAddress, ValueError, AttributeError):
        return []  # what cannot be read proves nothing

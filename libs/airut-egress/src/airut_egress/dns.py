"""DNS inside the sandbox: every name has a synthetic address, and nothing is ever forwarded (field notes 4)."""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import Final, Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .names import BadName, canonical_host

POOL: Final = IPv4Network("198.18.0.0/15")
MAX_NAMES: Final = 4096
TTL_SECONDS: Final = 60
MAX_UDP_BYTES: Final = 512  # RFC 1035 §4.2.1; one question and one A record always fit

_HEADER_BYTES: Final = 12
_META_TYPES: Final = frozenset(
    {dns.rdatatype.ANY, dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.MAILA, dns.rdatatype.MAILB}
)

Outcome = Literal["answered", "empty", "bad-name", "refused", "not-implemented", "malformed"]


class NamesExhausted(Exception):
    """The sandbox has asked for more names than its table holds."""


class SyntheticNames:
    """One sandbox's names and their addresses.

    An address follows from the name, so a restarted proxy gives the same one: only names whose addresses
    collide (a few in ten thousand) depend on which was asked first.
    """

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._addresses: dict[str, IPv4Address] = {}
        self._names: dict[IPv4Address, str] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def address_for(self, name: str) -> IPv4Address:
        """The address of a canonical host, given to it at its first mention.

        Raises:
            NamesExhausted: the table is full; names already in it keep their addresses.
        """
        known = self._addresses.get(name)
        if known is not None:
            return known
        if len(self._addresses) >= self._limit:
            raise NamesExhausted(f"more than {self._limit} names")
        address = self._free_address(name)
        self._addresses[name] = address
        self._names[address] = name
        return address

    def given(self, since: int) -> list[str]:
        """The names in the table, in the order of their first mention, from this number on."""
        return list(islice(self._addresses, since, None))

    def name_for(self, address: IPv4Address | str) -> str | None:
        """The canonical host behind an address that a connection was made to; None when it has none."""
        try:
            return self._names.get(IPv4Address(address))
        except ValueError:
            return None

    def _free_address(self, name: str) -> IPv4Address:
        # Some clients take addresses ending in 0 or 255 for a network or a broadcast, so hosts are 1 to 254.
        digest = hashlib.blake2b(name.encode("ascii"), digest_size=8).digest()
        blocks = POOL.num_addresses // 256
        slot = int.from_bytes(digest) % (blocks * 254)
        while True:
            address = POOL.network_address + (slot // 254) * 256 + slot % 254 + 1
            if address not in self._names:
                return address
            slot = (slot + 1) % (blocks * 254)


@dataclass(frozen=True, slots=True)
class DnsQuestion:
    """What was asked, for the event. The name is hostile text."""

    name: str
    """As asked, in presentation form, cut to 255 characters; empty when it could not be read."""
    kind: str
    """`A`, `AAAA`, `TYPE65`, ...; empty when it could not be read."""
    outcome: Outcome


def answer(query: bytes, names: SyntheticNames) -> tuple[bytes | None, DnsQuestion]:
    """Answer one UDP datagram. Never raises; None means that nothing is sent back.

    A questions get the name's address; other kinds an empty NOERROR, so that clients go on with A. HTTPS and
    SVCB are among them on purpose: they would carry ECH keys and other endpoints.
    """
    malformed = DnsQuestion("", "", "malformed")
    # An answer to an answer could go back and forth for ever.
    if len(query) < _HEADER_BYTES or query[2] & 0x80:
        return None, malformed
    try:
        message = dns.message.from_wire(query, question_only=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, IndexError):
        return _bare_error(query, dns.rcode.FORMERR), malformed
    if message.opcode() != dns.opcode.QUERY:
        return _bare_error(query, dns.rcode.NOTIMP), DnsQuestion("", "", "not-implemented")
    if len(message.question) != 1:
        return _bare_error(query, dns.rcode.FORMERR), malformed
    return _answer_question(message, message.question[0], names)


def _answer_question(
    query: dns.message.Message, question: dns.rrset.RRset, names: SyntheticNames
) -> tuple[bytes, DnsQuestion]:
    response = dns.message.make_response(query, recursion_available=True)
    outcome: Outcome = "empty"
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _META_TYPES:
        response.set_rcode(dns.rcode.NOTIMP)
        outcome = "not-implemented"
    elif question.rdtype == dns.rdatatype.A:
        outcome = _answer_address(response, question, names)
    shown = DnsQuestion(question.name.to_text(omit_final_dot=True)[:255], _kind(question), outcome)
    return response.to_wire(max_size=MAX_UDP_BYTES), shown


def _answer_address(
    response: dns.message.Message, question: dns.rrset.RRset, names: SyntheticNames
) -> Outcome:
    try:
        address = names.address_for(canonical_host(_plain_text(question.name)))
    except BadName:
        response.set_rcode(dns.rcode.NXDOMAIN)
        return "bad-name"
    except NamesExhausted:
        response.set_rcode(dns.rcode.REFUSED)
        return "refused"
    record = dns.rrset.from_text(question.name, TTL_SECONDS, dns.rdataclass.IN, dns.rdatatype.A, str(address))
    response.answer.append(record)
    return "answered"


def _plain_text(name: dns.name.Name) -> bytes:
    # A dot inside a label would become a border between two: such a name is not a host name.
    if any(b"." in label for label in name.labels):
        raise BadName("a label has a dot in it")
    return b".".join(name.labels)


def _kind(question: dns.rrset.RRset) -> str:
    return dns.rdatatype.to_text(question.rdtype)


def _bare_error(query: bytes, code: dns.rcode.Rcode) -> bytes:
    """A header alone: the query's id, opcode and RD, and a code (RFC 1035 §4.1.1)."""
    flags = (int.from_bytes(query[2:4]) & 0x7900) | dns.flags.QR | dns.flags.RA | int(code)
    return query[:2] + flags.to_bytes(2) + bytes(8)

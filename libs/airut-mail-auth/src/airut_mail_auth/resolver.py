"""What is asked of the DNS. `DnsResolver` in `dns.py` asks real servers; anything else may answer as well."""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

TextLookup = Callable[[str], Awaitable[list[bytes]]]
"""TXT records of a name; raises `DnsTemporary`."""


class DnsTemporary(Exception):
    """No answer now; another try may get one. Never a reason to believe anybody."""


class Resolver(Protocol):
    """Answers questions. Names are absolute, without the last dot. What does not exist is an empty answer; each method
    raises `DnsTemporary` when there is none."""

    async def texts(self, name: str) -> list[bytes]:
        """TXT records, each one's strings joined."""

    async def addresses(self, name: str, *, v6: bool) -> Sequence[IPv4Address | IPv6Address]:
        """A records, or AAAA records."""

    async def mail_hosts(self, name: str) -> Sequence[str]:
        """Hosts of the MX records, in order of preference."""

    async def pointers(self, address: IPv4Address | IPv6Address) -> Sequence[str]:
        """PTR records of an address."""

    async def exists(self, name: str) -> bool:
        """Whether the name exists in the sense of RFC 9989 §3.2.13: the answer is anything but NXDOMAIN."""

"""The resolver that asks real DNS servers: asynchronous, with a cache, CNAMEs and TCP fallback."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal, Self

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver
import dns.reversename

from airut_mail_auth.resolver import DnsTemporary

RecordType = Literal["A", "AAAA", "MX", "PTR", "TXT"]
LOOKUP_SECONDS = 5.0
TRY_SECONDS = 2.0
MAX_CNAMES = 8
CACHE_ENTRIES = 2000


class NoSuchName(Exception):
    """The name does not exist (NXDOMAIN), nor anything below it (RFC 8020)."""


class DnsResolver:
    """Asks one DNS server, or those of the system."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        """`server` is an IP address and a port; None reads the system's settings."""
        self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        if server is not None:
            self._resolver.nameservers = [server[0]]
            self._resolver.port = server[1]
        self._resolver.timeout = TRY_SECONDS
        self._resolver.lifetime = LOOKUP_SECONDS
        self._resolver.use_edns(0, 0, 1232)
        self._resolver.cache = dns.resolver.LRUCache(CACHE_ENTRIES)

    @classmethod
    async def at(cls, endpoint: str | None) -> Self:
        """A resolver at `host:port`; a host name is looked up by the system.

        Raises:
            OSError: the host name is unknown, or None was given and the system has no DNS server.
        """
        if endpoint is None:
            try:
                return cls()
            except dns.resolver.NoResolverConfiguration as error:
                raise OSError(f"no DNS server is known to the system: {error}") from error
        host, _, port = endpoint.rpartition(":")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        return cls((str(found[0][4][0]), int(port)))

    async def lookup(self, name: str, kind: RecordType) -> list[Any]:
        """Records of a name, its CNAMEs followed; empty when it has none of this kind.

        Raises:
            NoSuchName: the name does not exist.
            DnsTemporary: no usable answer within `LOOKUP_SECONDS`.
        """
        for _ in range(MAX_CNAMES):
            try:
                answer = await self._resolver.resolve(
                    dns.name.from_text(name), kind, raise_on_no_answer=False, search=False
                )
            except dns.resolver.NXDOMAIN:
                raise NoSuchName(name) from None
            except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape):
                raise NoSuchName(name) from None
            except (dns.exception.DNSException, OSError) as error:
                raise DnsTemporary(f"{name} {kind}: {type(error).__name__}") from error
            if answer.rrset is not None:
                return list(answer.rrset)
            # An authoritative server may leave the target of a CNAME to us.
            target = answer.canonical_name.to_text(omit_final_dot=True)
            if target.lower() == name.lower().rstrip("."):
                return []
            name = target
        raise DnsTemporary(f"{name} {kind}: CNAME chain too long")

    async def texts(self, name: str) -> list[bytes]:
        """TXT records, each one's strings joined."""
        return [b"".join(record.strings) for record in await self._records(name, "TXT")]

    async def addresses(self, name: str, *, v6: bool) -> list[IPv4Address | IPv6Address]:
        """A records, or AAAA records."""
        return [ip_address(record.address) for record in await self._records(name, "AAAA" if v6 else "A")]

    async def mail_hosts(self, name: str) -> list[str]:
        """Hosts of the MX records, in order of preference."""
        records = sorted(await self._records(name, "MX"), key=lambda record: int(record.preference))
        return [record.exchange.to_text(omit_final_dot=True) for record in records]

    async def pointers(self, address: IPv4Address | IPv6Address) -> list[str]:
        """PTR records of an address."""
        name = dns.reversename.from_address(str(address)).to_text(omit_final_dot=True)
        return [record.target.to_text(omit_final_dot=True) for record in await self._records(name, "PTR")]

    async def exists(self, name: str) -> bool:
        """Whether the answer is anything but NXDOMAIN."""
        try:
            await self.lookup(name, "A")
        except NoSuchName:
            return False
        return True

    async def _records(self, name: str, kind: RecordType) -> list[Any]:
        try:
            found = await self.lookup(name, kind)
        except NoSuchName:
            return []
        return [record for record in found if record.rdtype == dns.rdatatype.from_text(kind)]

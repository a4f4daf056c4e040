"""SPF evaluation (RFC 7208 §4, §5) within its limits: ten terms that look up, two empty answers, and time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

from airut_mail_auth.addresses import BadAddress, canonical_domain
from airut_mail_auth.record import Result
from airut_mail_auth.resolver import DnsTemporary, Resolver
from airut_mail_auth.spf.macros import MacroString, SpfSyntax, dotted, is_domain, shortened
from airut_mail_auth.spf.record import Mechanism, parse_record, select_record

SPF_SECONDS = 20.0
"""§4.6.4 asks for at least 20."""
MAX_LOOKUPS = 10
MAX_VOID_LOOKUPS = 2
MAX_NAMES = 10
"""MX hosts of one domain, and names of one address."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class SpfResult:
    """What SPF says."""

    result: Result
    detail: str
    """For people."""


@dataclass(frozen=True)
class SpfIdentity:
    """Whom SPF speaks about."""

    kind: Literal["mailfrom", "helo"]
    local: str
    domain: str


def spf_identity(mail_from: str, helo: str) -> SpfIdentity | None:
    """MAIL FROM, or `postmaster` at the EHLO name for the null sender (§2.4); None: there is no domain in it.

    EHLO says nothing about mail with a MAIL FROM: anybody may greet with a name whose record fits.
    """
    null = mail_from in ("", "<>")
    local, _, domain = mail_from.rpartition("@")
    try:
        return SpfIdentity(
            "helo" if null else "mailfrom",
            (not null and local) or "postmaster",
            canonical_domain(helo if null else domain),
        )
    except BadAddress:
        return None


async def check_host(
    peer: str, sender: SpfIdentity, helo: str, resolver: Resolver, *, seconds: float = SPF_SECONDS
) -> SpfResult:
    """§4: may the client at `peer` send in the name of `sender`?"""
    try:
        address = ip_address(peer)
    except ValueError:
        return SpfResult("none", f"{peer!r} is not an IP address")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    check = _Check(address, sender, helo, resolver)
    try:
        async with asyncio.timeout(seconds):
            result = await check.domain(sender.domain)
    except TimeoutError:
        return SpfResult("temperror", "it took too long")
    except DnsTemporary as error:
        return SpfResult("temperror", f"DNS {error}")
    except SpfSyntax as error:
        return SpfResult("permerror", f"the record is not usable: {error}")
    return SpfResult(result, f"{result}, sent by {address}")


class _Check:
    """One evaluation; the limits count through includes and redirects."""

    def __init__(self, address: Address, sender: SpfIdentity, helo: str, resolver: Resolver) -> None:
        self._address = address
        self._sender = sender
        self._helo = helo
        self._resolver = resolver
        self._lookups = 0
        self._voids = 0

    async def domain(self, domain: str) -> Result:
        """Evaluate the record of one domain.

        Raises:
            SpfSyntax: permerror.
            DnsTemporary: temperror.
        """
        text = select_record(await self._resolver.texts(domain)) if is_domain(domain) else None
        if text is None:
            return "none"
        record = parse_record(text)
        for mechanism in record.mechanisms:
            if mechanism.looks_up:
                self._count_lookup()
            if await self._matches(mechanism, domain):
                return mechanism.result
        if record.redirect is None:
            return "neutral"
        self._count_lookup()
        redirected = await self.domain(await self._expand(record.redirect, domain))
        if redirected == "none":
            raise SpfSyntax("redirect leads to no record")
        return redirected

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        if mechanism.name == "all":
            return True
        if mechanism.network is not None:
            return self._address in mechanism.network
        target = domain if mechanism.domain is None else await self._expand(mechanism.domain, domain)
        match mechanism.name:
            case "include":
                return await self._included(target)
            case "exists":
                return bool(await self._addresses(target, v6=False))
            case "ptr":
                return bool(await self._names_below(target))
            case "mx":
                return await self._is_mail_host(target, mechanism)
            case _:
                return self._inside(await self._own_addresses(target), mechanism)

    async def _included(self, target: str) -> bool:
        result = await self.domain(target)
        if result == "none":
            raise SpfSyntax("include leads to no record")
        return result == "pass"

    async def _is_mail_host(self, target: str, mechanism: Mechanism) -> bool:
        hosts = await self._resolver.mail_hosts(target) if is_domain(target) else ()
        self._count_void(hosts)
        if len(hosts) > MAX_NAMES:
            raise SpfSyntax("a domain has too many MX records")
        for host in hosts:
            if self._inside(await self._own_addresses(host), mechanism):
                return True
        return False

    async def _names_below(self, target: str) -> list[str]:
        """§5.5: names of the client that lead back to it, at or below a domain; none when the DNS fails."""
        try:
            names = await self._resolver.pointers(self._address)
        except DnsTemporary:
            return []
        self._count_void(names)
        found = []
        wanted = target.lower()
        for name in names[:MAX_NAMES]:
            below = name.lower() == wanted or name.lower().endswith(f".{wanted}")
            if below and await self._leads_back(name):
                found.append(name)
        return found

    async def _leads_back(self, name: str) -> bool:
        try:
            return is_domain(name) and self._address in await self._resolver.addresses(
                name, v6=self._address.version == 6
            )
        except DnsTemporary:
            return False

    def _inside(self, addresses: Sequence[Address], mechanism: Mechanism) -> bool:
        prefix = mechanism.prefix_v6 if self._address.version == 6 else mechanism.prefix_v4
        return any(self._address in ip_network((address, prefix), strict=False) for address in addresses)

    async def _own_addresses(self, name: str) -> Sequence[Address]:
        return await self._addresses(name, v6=self._address.version == 6)

    async def _addresses(self, name: str, *, v6: bool) -> Sequence[Address]:
        found = await self._resolver.addresses(name, v6=v6) if is_domain(name) else ()
        self._count_void(found)
        return found

    def _count_lookup(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise SpfSyntax("it needs too many lookups")

    def _count_void(self, answer: Sequence[object]) -> None:
        self._voids += not answer
        if self._voids > MAX_VOID_LOOKUPS:
            raise SpfSyntax("too many of its lookups find nothing")

    async def _expand(self, spec: MacroString, domain: str) -> str:
        address = self._address
        values = {
            "s": f"{self._sender.local}@{self._sender.domain}",
            "l": self._sender.local,
            "o": self._sender.domain,
            "d": domain,
            "i": dotted(address),
            "p": await self._client_name(domain) if spec.uses("p") else "unknown",
            "v": "in-addr" if address.version == 4 else "ip6",
            "h": self._helo,
        }
        return shortened(spec.expand(values))

    async def _client_name(self, domain: str) -> str:
        """§7.3 `p`: the domain itself if it is a name of the client, else one below it, else any."""
        below = await self._names_below(domain)
        if below:
            return next((name for name in below if name.lower() == domain.lower()), below[0])
        try:
            names = await self._resolver.pointers(self._address)
        except DnsTemporary:
            return "unknown"
        for name in names[:MAX_NAMES]:
            if await self._leads_back(name):
                return name
        return "unknown"

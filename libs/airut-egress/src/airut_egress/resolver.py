"""Upstream names to addresses that may be dialled: one lookup, every answer tested (field notes 8).

The caller dials exactly what is returned here and resolves nothing itself.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from .addresses import Address, refusal
from .names import canonical_host

Target = tuple[str, int]
"""A numeric address and a port."""

_MAX_CACHED: Final = 1024
_MAX_TTL_SECONDS: Final = 60.0
_MIN_TTL_SECONDS: Final = 1.0
_MAX_ANSWERS: Final = 16
_AAAA_GRACE_SECONDS: Final = 0.25  # RFC 8305 §3 would wait 50 ms; a cold resolver takes longer


class UpstreamRefused(Exception):
    """The name leads to an address that must not be dialled; the text says which and why."""


class UpstreamUnknown(Exception):
    """The name has no address, or nobody answered in time."""


@dataclass(frozen=True, slots=True)
class _Cached:
    addresses: tuple[Address, ...]
    expires: float


class Resolver:
    """Resolves allowed names. Safe for concurrent use within one event loop."""

    def __init__(
        self,
        *,
        server: str | None = None,
        allow_networks: Sequence[str] = (),
        connect_to: Mapping[str, str] | None = None,
        timeout_seconds: float = 5.0,
    ) -> None:
        """Args:
        server: `host:port` of the DNS server, numeric; None uses the system's.
        allow_networks: private networks (CIDR) that names may lead to.
        connect_to: name to numeric `address:port` to dial instead. It is the operator's own word, so the
            address is not checked.
        timeout_seconds: deadline for one lookup, retries included.

        Raises:
            ValueError: a network or an address is malformed.
        """
        self._networks = tuple(ip_network(text) for text in allow_networks)
        self._connect_to = {canonical_host(name): _numeric(text) for name, text in (connect_to or {}).items()}
        self._resolver = _open_resolver(server)
        self._timeout_seconds = timeout_seconds
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._running: dict[str, asyncio.Task[tuple[Address, ...]]] = {}

    async def resolve(self, host: str, port: int) -> list[Target]:
        """Where to dial for a canonical host, in the order to try; never empty.

        Raises:
            UpstreamRefused: one answer at least is an address that sandboxes may not reach.
            UpstreamUnknown: no address, or no answer before the deadline.
        """
        if fixed := self._connect_to.get(host):
            return [fixed]
        addresses = await self._addresses(host)
        for address in addresses:
            if why := refusal(address, self._networks):
                raise UpstreamRefused(f"{host} leads to {address}: {why}")
        return [(str(address), port) for address in addresses]

    async def _addresses(self, host: str) -> tuple[Address, ...]:
        cached = self._cache.get(host)
        if cached is not None and cached.expires > time.monotonic():
            self._cache.move_to_end(host)
            return cached.addresses
        # Requests that ask at the same moment share one lookup, and one of them leaving does not end it.
        task = self._running.get(host)
        if task is None:
            task = asyncio.create_task(self._look_up(host), name=f"resolve {host}")
            self._running[host] = task
            task.add_done_callback(lambda done: self._forget(host, done))
        return await asyncio.shield(task)

    def _forget(self, host: str, done: asyncio.Task[tuple[Address, ...]]) -> None:
        del self._running[host]
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; nobody waiting is not worth a warning

    async def _look_up(self, host: str) -> tuple[Address, ...]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answers = await self._ask_both(host)
        except TimeoutError:
            raise UpstreamUnknown(f"no answer for {host} in {self._timeout_seconds:g} s") from None
        addresses = tuple(ip_address(record.address) for answer in answers for record in answer)
        if not addresses:
            raise UpstreamUnknown(f"{host} has no address")
        if len(addresses) > _MAX_ANSWERS:
            # Every answer is tested before one is dialled, so too many are refused instead of cut.
            raise UpstreamUnknown(f"{host} has more than {_MAX_ANSWERS} addresses")
        ttl = min(answer.rrset.ttl for answer in answers if answer.rrset is not None)
        self._remember(host, addresses, float(ttl))
        return addresses

    async def _ask_both(self, host: str) -> list[dns.resolver.Answer]:
        """The answers that have records, IPv4 first: most sandboxes' hosts can dial it."""
        async with asyncio.TaskGroup() as group:
            v6 = group.create_task(self._ask(host, dns.rdatatype.AAAA))
            v4 = await self._ask(host, dns.rdatatype.A)
            if isinstance(v4, dns.resolver.Answer):
                # An IPv4 address is in hand: a resolver that is silent about AAAA must not cost the deadline.
                await asyncio.wait([v6], timeout=_AAAA_GRACE_SECONDS)
                if not v6.done():
                    v6.cancel()
                    return [v4]
        outcomes = [v4, v6.result()]
        found = [outcome for outcome in outcomes if isinstance(outcome, dns.resolver.Answer)]
        if not found and (
            problem := next((text for text in outcomes if isinstance(text, str) and text), None)
        ):
            raise UpstreamUnknown(f"{host}: {problem}")
        return found

    async def _ask(self, host: str, kind: dns.rdatatype.RdataType) -> dns.resolver.Answer | str:
        """An answer with records, or why there is none; empty when the name simply has none."""
        try:
            return await self._resolver.resolve(
                f"{host}.", kind, lifetime=self._timeout_seconds, search=False, raise_on_no_answer=True
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ""
        except dns.exception.DNSException as error:
            return f"the resolver failed ({type(error).__name__})"

    def _remember(self, host: str, addresses: tuple[Address, ...], ttl: float) -> None:
        seconds = min(max(ttl, _MIN_TTL_SECONDS), _MAX_TTL_SECONDS)
        self._cache[host] = _Cached(addresses, time.monotonic() + seconds)
        self._cache.move_to_end(host)
        while len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)


def _open_resolver(server: str | None) -> dns.asyncresolver.Resolver:
    if server is None:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            # A host without DNS can still work by `connect_to` alone; every look-up fails by name.
            return dns.asyncresolver.Resolver(configure=False)
    address, port = _numeric(server)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [address]
    resolver.port = port
    return resolver


def _numeric(endpoint: str) -> Target:
    host, _, port = endpoint.rpartition(":")
    try:
        return str(ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        raise ValueError(
            f"{endpoint!r}: expected a numeric address and a port, as in 127.0.0.1:5353"
        ) from None

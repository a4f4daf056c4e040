"""Upstream names over a real UDP server: every answer tested, one lookup, a deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from airut_egress.resolver import Resolver, UpstreamRefused, UpstreamUnknown

Zone = dict[tuple[str, str], list[str] | str | None]
"""(name, kind) to addresses, or to a CNAME target, or None for silence."""


@dataclass
class Server(asyncio.DatagramProtocol):
    zone: Zone
    ttl: int = 300
    asked: list[tuple[str, str]] = field(default_factory=list)
    changed: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        self.changed()
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        while isinstance(target := self.zone.get((name, "CNAME")), str):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{target}."))
            name = target
        found = self.zone.get((name, kind), [])
        if found is None:
            return
        if found == "SERVFAIL":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif found:
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *found))
        elif not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def serving(zone: Zone, ttl: int = 300) -> AsyncIterator[tuple[Server, str]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Server(zone, ttl), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server, f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def test_all_addresses_come_back_ipv4_first() -> None:
    zone: Zone = {("a.example", "A"): ["1.1.1.1", "8.8.8.8"], ("a.example", "AAAA"): ["2606:4700:4700::1111"]}
    async with serving(zone) as (_, address):
        targets = await Resolver(server=address).resolve("a.example", 443)
    assert sorted(targets[:2]) == [("1.1.1.1", 443), ("8.8.8.8", 443)]
    assert targets[2:] == [("2606:4700:4700::1111", 443)]


async def test_a_chain_of_names_is_followed() -> None:
    zone: Zone = {
        ("a.example", "CNAME"): "b.example",
        ("b.example", "CNAME"): "c.example",
        ("c.example", "A"): ["1.1.1.1"],
    }
    async with serving(zone) as (_, address):
        assert await Resolver(server=address).resolve("a.example", 80) == [("1.1.1.1", 80)]


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("A", ["127.0.0.1"]),
        ("A", ["1.1.1.1", "10.0.0.1"]),
        ("A", ["10.0.0.1", "1.1.1.1"]),
        ("A", ["169.254.169.254"]),
        ("A", ["100.64.0.1"]),
        ("A", ["198.18.0.9"]),
        ("AAAA", ["::1"]),
        ("AAAA", ["fd00:ec2::254"]),
        ("AAAA", ["::ffff:10.0.0.1"]),
        ("AAAA", ["2606:4700:4700::1111", "fe80::1"]),
    ],
)
async def test_one_bad_answer_refuses_the_name(kind: str, answers: list[str]) -> None:
    """Rows 7, 8: every answer is tested, not the first."""
    zone: Zone = {("a.example", "A"): ["8.8.8.8"], ("a.example", kind): answers}
    async with serving(zone) as (_, address):
        with pytest.raises(UpstreamRefused, match=r"a\.example leads to"):
            await Resolver(server=address).resolve("a.example", 443)


async def test_a_bad_answer_behind_a_chain_refuses_the_name() -> None:
    """Row 8."""
    zone: Zone = {("a.example", "CNAME"): "inside.example", ("inside.example", "A"): ["192.168.1.1"]}
    async with serving(zone) as (_, address):
        with pytest.raises(UpstreamRefused, match="private"):
            await Resolver(server=address).resolve("a.example", 443)


async def test_an_operators_network_is_dialled_and_metadata_never() -> None:
    """Row 7."""
    zone: Zone = {("a.example", "A"): ["10.1.2.3"], ("m.example", "A"): ["169.254.169.254"]}
    async with serving(zone) as (_, address):
        resolver = Resolver(server=address, allow_networks=["10.0.0.0/8", "169.254.0.0/16"])
        assert await resolver.resolve("a.example", 443) == [("10.1.2.3", 443)]
        with pytest.raises(UpstreamRefused, match="metadata"):
            await resolver.resolve("m.example", 443)


async def test_a_rebinding_name_is_asked_once_and_tested_each_time() -> None:
    """Row 8: what changes between two requests does not slip through either."""
    zone: Zone = {("a.example", "A"): ["1.1.1.1"]}
    async with serving(zone, ttl=300) as (server, address):
        resolver = Resolver(server=address)
        assert await resolver.resolve("a.example", 443) == [("1.1.1.1", 443)]
        zone["a.example", "A"] = ["127.0.0.1"]
        assert await resolver.resolve("a.example", 443) == [("1.1.1.1", 443)]
        assert server.asked.count(("a.example", "A")) == 1
        with pytest.raises(UpstreamRefused):
            await Resolver(server=address).resolve("a.example", 443)


async def test_requests_at_one_moment_share_a_lookup() -> None:
    zone: Zone = {("a.example", "A"): ["1.1.1.1"]}
    async with serving(zone) as (server, address):
        resolver = Resolver(server=address)
        answers = await asyncio.gather(*(resolver.resolve("a.example", 443) for _ in range(20)))
    assert all(targets == [("1.1.1.1", 443)] for targets in answers)
    assert server.asked.count(("a.example", "A")) == 1


async def test_one_who_leaves_does_not_end_the_lookup_of_others() -> None:
    zone: Zone = {("a.example", "A"): None}
    async with serving(zone) as (server, address):
        resolver = Resolver(server=address)
        asked = asyncio.Event()
        server.changed = asked.set
        first = asyncio.create_task(resolver.resolve("a.example", 443))
        second = asyncio.create_task(resolver.resolve("a.example", 443))
        await asyncio.wait_for(asked.wait(), 5)
        first.cancel()
        zone["a.example", "A"] = ["1.1.1.1"]  # found by the resolver's own retry
        assert await asyncio.wait_for(second, 10) == [("1.1.1.1", 443)]
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_resolver_silent_about_ipv6_costs_little() -> None:
    zone: Zone = {("a.example", "A"): ["1.1.1.1"], ("a.example", "AAAA"): None}
    async with serving(zone) as (_, address):
        async with asyncio.timeout(2):
            assert await Resolver(server=address).resolve("a.example", 443) == [("1.1.1.1", 443)]


async def test_ipv6_alone_is_enough() -> None:
    zone: Zone = {("a.example", "AAAA"): ["2606:4700:4700::1111"]}
    async with serving(zone) as (_, address):
        assert await Resolver(server=address).resolve("a.example", 443) == [("2606:4700:4700::1111", 443)]


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ({}, "has no address"),
        ({("a.example", "TXT"): ["x"]}, "has no address"),
        ({("a.example", "A"): "SERVFAIL", ("a.example", "AAAA"): "SERVFAIL"}, "the resolver failed"),
        ({("a.example", "A"): [f"8.8.4.{n}" for n in range(1, 20)]}, "more than 16"),
    ],
)
async def test_names_without_a_usable_answer(zone: Zone, words: str) -> None:
    async with serving(zone) as (_, address):
        with pytest.raises(UpstreamUnknown, match=words):
            await Resolver(server=address, timeout_seconds=2).resolve("a.example", 443)


async def test_silence_ends_at_the_deadline() -> None:
    zone: Zone = {("a.example", "A"): None, ("a.example", "AAAA"): None}
    async with serving(zone) as (_, address):
        with pytest.raises(UpstreamUnknown):
            async with asyncio.timeout(5):
                await Resolver(server=address, timeout_seconds=0.3).resolve("a.example", 443)


async def test_connect_to_is_the_operators_word() -> None:
    resolver = Resolver(
        server="127.0.0.1:1", connect_to={"API.example.": "127.0.0.1:8443", "six.example": "[::1]:1"}
    )
    assert await resolver.resolve("api.example", 443) == [("127.0.0.1", 8443)]
    assert await resolver.resolve("six.example", 443) == [("::1", 1)]


async def test_connect_to_replaces_only_its_own_name() -> None:
    """Row 7: the operator's word for one name opens nothing for another."""
    async with serving({("other.example", "A"): ["127.0.0.1"]}) as (_, address):
        resolver = Resolver(server=address, connect_to={"api.example": "127.0.0.1:8443"})
        with pytest.raises(UpstreamRefused):
            await resolver.resolve("other.example", 443)


@pytest.mark.parametrize(
    "arguments",
    [
        {"server": "resolver.example:53"},
        {"server": "127.0.0.1"},
        {"connect_to": {"a.example": "b.example:443"}},
        {"connect_to": {"1.2.3.4": "127.0.0.1:443"}},
        {"allow_networks": ["10.0.0.1/8"]},
        {"allow_networks": ["x"]},
    ],
)
def test_broken_settings_are_told_at_once(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Resolver(**arguments)

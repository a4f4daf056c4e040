"""The world's DNS server, asked by a real resolver."""

import asyncio

import dns.asyncquery
import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import pytest

from airut_demo.world.dns_zones import Zones, domain_records, serve_zones


def _resolver(address: str) -> dns.asyncresolver.Resolver:
    host, _, port = address.rpartition(":")
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [host], int(port), 10
    return resolver


async def _ask(zones: Zones, name: str, kind: str) -> list[str]:
    async with serve_zones(zones) as address:
        answer = await _resolver(address).resolve(name, kind, raise_on_no_answer=False)
        return [record.to_text() for record in answer]


async def test_a_mail_domain_publishes_everything_a_receiver_looks_for() -> None:
    zones = Zones()
    zones.records |= domain_records(
        "lovelace.example", dkim_selector="demo", dkim_record="v=DKIM1; k=rsa; p=AAAA"
    )
    assert await _ask(zones, "lovelace.example", "MX") == ["10 mx.lovelace.example."]
    assert await _ask(zones, "lovelace.example", "TXT") == ['"v=spf1 -all"']
    assert await _ask(zones, "demo._domainkey.lovelace.example", "TXT") == ['"v=DKIM1; k=rsa; p=AAAA"']
    assert await _ask(zones, "_dmarc.LOVELACE.example", "TXT") == ['"v=DMARC1; p=reject"']


async def test_a_name_may_resolve_to_loopback() -> None:
    zones = Zones()
    zones.add("rebind.demo.example", "A", "127.0.0.1")
    assert await _ask(zones, "rebind.demo.example.", "A") == ["127.0.0.1"]


async def test_unknown_names_do_not_exist_and_known_ones_without_that_type_do() -> None:
    zones = Zones()
    zones.add("deep.below.example", "A", "192.0.2.1")
    async with serve_zones(zones) as address:
        resolver = _resolver(address)
        with pytest.raises(dns.resolver.NXDOMAIN):
            await resolver.resolve("elsewhere.example", "A")
        for name, kind in (("deep.below.example", "AAAA"), ("below.example", "A")):
            with pytest.raises(dns.resolver.NoAnswer):
                await resolver.resolve(name, kind)


@pytest.mark.parametrize("text", ["x" * 900, 'quote " and \\ backslash; semicolon'])
async def test_a_text_arrives_as_it_was_given(text: str) -> None:
    zones = Zones()
    zones.add("text.example", "TXT", text)
    async with serve_zones(zones) as address:
        answer = await _resolver(address).resolve("text.example", "TXT")
    assert b"".join(answer[0].strings).decode() == text


async def test_what_is_too_large_for_a_datagram_is_truncated_and_comes_over_tcp() -> None:
    zones = Zones()
    zones.add("large.example", "TXT", *(f"{number:03d}" + "x" * 250 for number in range(20)))
    query = dns.message.make_query("large.example", "TXT", use_edns=False)
    async with serve_zones(zones) as address:
        host, _, port = address.rpartition(":")
        short = await dns.asyncquery.udp(query, host, port=int(port), timeout=10)
        assert short.flags & dns.flags.TC
        assert not short.answer
        whole = await dns.asyncquery.tcp(query, host, port=int(port), timeout=10)
        assert len(whole.answer[0]) == 20


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\xff" * 40, b"\0\1\1\0" + b"\0" * 8])
async def test_garbage_is_not_answered_and_the_server_goes_on(garbage: bytes) -> None:
    zones = Zones()
    zones.add("here.example", "A", "192.0.2.1")
    assert zones.answer(garbage) is None
    async with serve_zones(zones) as address:
        host, _, port = address.rpartition(":")
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, int(port))
        )
        transport.sendto(garbage)
        assert [record.to_text() for record in await _resolver(address).resolve("here.example", "A")] == [
            "192.0.2.1"
        ]
        transport.close()


async def test_a_response_is_not_a_query() -> None:
    response = dns.message.make_response(dns.message.make_query("here.example", "A"))
    assert Zones().answer(response.to_wire()) is None


async def test_two_worlds_side_by_side() -> None:
    async with serve_zones(Zones()) as one, serve_zones(Zones()) as other:
        assert one != other


async def test_records_may_change_with_each_answer() -> None:
    zones = Zones()
    zones.coming["turn.example", "A"] = [("192.0.2.1",), ("192.0.2.2",)]
    seen = []
    for _ in range(3):
        answer = dns.message.from_wire(
            zones.answer(dns.message.make_query("turn.example", "A").to_wire()) or b""
        )
        seen.append((answer.answer[0].ttl, answer.answer[0][0].to_text()))
    assert seen == [(0, "192.0.2.1"), (0, "192.0.2.2"), (0, "192.0.2.2")]
    assert zones.asked == {("turn.example", "A"): 3}

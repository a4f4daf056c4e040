"""The resolver against a real server: CNAMEs, TCP fallback, failures that are not answers."""

from ipaddress import ip_address

import pytest

from airut_mail_auth import dns as module
from airut_mail_auth.dns import DnsResolver, NoSuchName
from airut_mail_auth.resolver import DnsTemporary


async def test_texts_are_joined_and_missing_names_have_none(zone, resolver: DnsResolver):
    zone.add("a.example", "TXT", '"one " "two"', '"three"')
    assert sorted(await resolver.texts("a.example")) == [b"one two", b"three"]
    assert await resolver.texts("missing.example") == []
    zone.add("b.example", "A", "192.0.2.1")
    assert await resolver.texts("b.example") == []
    assert await resolver.texts("x" * 64 + ".example") == []
    assert await resolver.texts("ä.example") == []
    assert await resolver.texts("..") == []


async def test_aliases_are_followed_even_when_the_server_leaves_them_to_us(zone, resolver: DnsResolver):
    zone.add("a.example", "CNAME", "b.example.")
    zone.add("b.example", "CNAME", "c.example.")
    zone.texts("c.example", "found")
    assert await resolver.texts("a.example") == [b"found"]


async def test_an_alias_loop_ends(zone, resolver: DnsResolver):
    zone.add("a.example", "CNAME", "b.example.")
    zone.add("b.example", "CNAME", "a.example.")
    with pytest.raises(DnsTemporary):
        await resolver.texts("a.example")


async def test_a_truncated_answer_is_asked_again_over_tcp(zone, resolver: DnsResolver):
    zone.texts("big.example", "x" * 3000)
    assert await resolver.texts("big.example") == [b"x" * 3000]
    assert zone.tcp_questions == ["big.example TXT"]


async def test_a_failing_server_is_no_answer(zone, resolver: DnsResolver):
    zone.fails.add("broken.example")
    with pytest.raises(DnsTemporary):
        await resolver.texts("broken.example")
    with pytest.raises(DnsTemporary):
        await resolver.exists("broken.example")


async def test_a_silent_server_is_no_answer(zone, resolver: DnsResolver, monkeypatch):
    monkeypatch.setattr(resolver._resolver, "lifetime", 0.3)
    zone.silent.add("quiet.example")
    with pytest.raises(DnsTemporary):
        await resolver.texts("quiet.example")


async def test_existence_is_anything_but_nxdomain(zone, resolver: DnsResolver):
    zone.add("mail.here.example", "MX", "10 mx.example.")
    assert await resolver.exists("mail.here.example")
    assert await resolver.exists("here.example")
    assert not await resolver.exists("gone.example")
    with pytest.raises(NoSuchName):
        await resolver.lookup("gone.example", "A")


async def test_the_configured_server_is_used(zone):
    zone.texts("a.example", "here")
    assert await (await DnsResolver.at(zone.endpoint)).texts("a.example") == [b"here"]
    assert await (await DnsResolver.at(f"localhost:{zone.port}")).texts("a.example") == [b"here"]
    assert (await DnsResolver.at(None))._resolver.port == 53


def test_lookups_are_short():
    assert module.LOOKUP_SECONDS <= 5


async def test_addresses_hosts_and_names(zone, resolver: DnsResolver):
    zone.add("a.example", "A", "192.0.2.1", "192.0.2.2")
    zone.add("a.example", "AAAA", "2001:db8::1")
    zone.add("a.example", "MX", "20 b.example.", "10 a.example.")
    zone.add("1.2.0.192.in-addr.arpa", "PTR", "a.example.")
    assert sorted(map(str, await resolver.addresses("a.example", v6=False))) == ["192.0.2.1", "192.0.2.2"]
    assert list(map(str, await resolver.addresses("a.example", v6=True))) == ["2001:db8::1"]
    assert await resolver.mail_hosts("a.example") == ["a.example", "b.example"]
    assert await resolver.pointers(ip_address("192.0.2.1")) == ["a.example"]
    assert await resolver.addresses("gone.example", v6=False) == []
    assert await resolver.mail_hosts("gone.example") == []

"""Whatever the text: a value or the one error that is announced, within a second."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_mail_auth import BadAddress, BadMessage, Envelope, Rules, verify_bytes
from airut_mail_auth.addresses import canonical_domain, parse_address, parse_from
from airut_mail_auth.arc.sets import BadChain, read_sets
from airut_mail_auth.dkim.canonical import header_form, without_signature
from airut_mail_auth.dkim.keys import BadKey, read_key
from airut_mail_auth.dmarc.record import pick_record
from airut_mail_auth.message import split_message
from airut_mail_auth.resolver import DnsTemporary
from airut_mail_auth.spf.check import check_host, spf_identity
from airut_mail_auth.spf.macros import SpfSyntax, parse_domain_spec, shortened
from airut_mail_auth.spf.record import parse_record, select_record
from airut_mail_auth.tags import BadTags, parse_tags

PIECES = st.sampled_from(
    [*'ab=;:/%{}.-+~?_ \t@<>"(),0129é\x00', "v=spf1", "v=DMARC1", "p=", "%{d}", "%{ir}", "a:", "ip4:", "xn--"]
)
TEXT = st.lists(PIECES, max_size=60).map("".join)


class _Limited:
    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        assert time.monotonic() - self._began < 1


def _dmarc(text: str) -> None:
    record = pick_record([text.encode()])
    assert record is None or "DMARC1" in text


def _key(text: str) -> None:
    with suppress(BadKey):
        read_key(text.encode(), "rsa", domain="a.example", identity="a.example")


def _spf(text: str) -> None:
    with suppress(SpfSyntax):
        if (record := select_record([text.encode()])) is not None:
            parse_record(record)
    with suppress(SpfSyntax):
        domain = shortened(parse_domain_spec(text).expand(dict.fromkeys("slodiphv", "x.y")))
        assert len(domain) <= 253 or "." not in domain


def _tags(text: str) -> None:
    with suppress(BadTags):
        assert all(";" not in value for value in parse_tags(text).values())


def _address(text: str) -> None:
    for read in (parse_from, parse_address, canonical_domain):
        with suppress(BadAddress):
            assert str(read(text)).rpartition("@")[2].isascii()


def _chain(text: str) -> None:
    for name in ("ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"):
        with suppress(BadMessage, BadChain):
            read_sets(split_message(f"{name}: i=1; {text}\r\n".encode()))


def _forms(text: str) -> None:
    raw = f"X:{text}".encode()
    once = header_form(raw, relaxed=True)
    assert header_form(once, relaxed=True) == once
    assert without_signature(without_signature(raw)) == without_signature(raw)


@pytest.mark.parametrize("read", [_dmarc, _key, _spf, _tags, _address, _chain, _forms])
@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text(read: Callable[[str], None], text: str):
    with _Limited():
        read(text)
        read(f"v=spf1 {text}")
        read(f"v=DMARC1; {text}")


@pytest.mark.parametrize("read", [_dmarc, _key, _spf, _tags, _address, _chain, _forms])
@pytest.mark.parametrize(
    "piece", [" ", "\t ", ";", "a=;", "%{d}", "%", ".", "a.", "(", '"', "\\", "=", "/", "-"]
)
def test_row_35_long_texts(read: Callable[[str], None], piece: str):
    with _Limited():
        read(piece * (40_000 // len(piece)))
        read("v=spf1 a:" + piece * (40_000 // len(piece)) + "!")


class _Nowhere:
    """A DNS in which every TXT record says `text`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.asked = 0

    async def texts(self, _name: str) -> list[bytes]:
        self.asked += 1
        return [self._text.encode()]

    async def addresses(self, _name: str, *, v6: bool) -> list[object]:
        self.asked += 1
        return []

    async def mail_hosts(self, _name: str) -> list[str]:
        self.asked += 1
        return ["mx.example"] * 10

    async def pointers(self, _address: object) -> list[str]:
        self.asked += 1
        return ["x.example"] * 30

    async def exists(self, _name: str) -> bool:
        return True


@settings(max_examples=200, deadline=None)
@given(text=TEXT)
async def test_no_record_makes_spf_ask_without_end(text: str):
    zone = _Nowhere(f"v=spf1 {text} mx ptr exists:%{{p}}.a.example include:b.example redirect=c.example")
    sender = spf_identity("x@a.example", "h")
    assert sender is not None
    with _Limited():
        result = await check_host("192.0.2.1", sender, "h", zone)
    assert result.result in ("permerror", "neutral", "fail", "softfail", "none", "pass")
    assert zone.asked < 150


async def test_spf_has_a_deadline():
    class Slow(_Nowhere):
        async def texts(self, _name: str) -> list[bytes]:
            await asyncio.Event().wait()
            return []

    sender = spf_identity("x@a.example", "h")
    assert sender is not None
    result = await check_host("192.0.2.1", sender, "h", Slow(""), seconds=0.05)
    assert (result.result, result.detail) == ("temperror", "it took too long")


async def test_a_dns_that_never_answers_means_later(monkeypatch):
    class Silent(_Nowhere):
        async def texts(self, _name: str) -> list[bytes]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr(import_module("airut_mail_auth.verify"), "SECONDS", 0.05)
    data = b"From: ada@lovelace.example\r\n\r\nx\r\n"
    record = await verify_bytes(data, None, Silent(""), Rules(), now=datetime.now(UTC))
    assert (record.verdict, record.rule) == ("later", "dns")


@settings(max_examples=150, deadline=None)
@given(
    head=st.lists(
        st.sampled_from(
            [
                "From: ",
                "DKIM-Signature: ",
                "ARC-Seal: ",
                "a=b; ",
                "d=a.example; ",
                "\r\n",
                "i=1; ",
                "x@a.example",
            ]
        ),
        max_size=25,
    ).map("".join)
)
async def test_any_mail_is_judged_and_none_is_proven_without_evidence(head: str):
    class Failing(_Nowhere):
        async def texts(self, name: str) -> list[bytes]:
            if "_dmarc" in name:
                return [b"v=DMARC1; p=reject"]
            raise DnsTemporary(name)

    rules = Rules(arc_sealers=("a.example",))
    for mode in (rules, Rules(mode="trusted-header", authserv_id="mx", peers=("192.0.2.0/24",))):
        with _Limited():
            record = await verify_bytes(
                head.encode(),
                Envelope("192.0.2.1", "h", "x@a.example"),
                Failing(""),
                mode,
                now=datetime.now(UTC),
            )
        assert record.verdict in ("refused", "later")
        assert record.proof is None

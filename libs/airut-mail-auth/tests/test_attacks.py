"""Attacks on single rules: each of these would succeed, or cost much, without the rule that it is named after."""

import base64
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_mail_auth.dkim.keys import BadKey, read_key
from airut_mail_auth.dkim.signatures import read_signatures
from airut_mail_auth.message import parse_message, split_message
from airut_mail_auth.native import MAX_SIGNATURES
from airut_mail_auth.testing.signing import SigningDomain, plain_mail


async def test_many_signatures_of_made_up_subdomains_cost_few_lookups(judge, zone, lovelace, refusal):
    """Each would need a tree walk of its own."""
    mail = plain_mail().as_bytes()
    for number in range(60):
        mail = SigningDomain(f"a.b.c{number}.lovelace.example").sign(mail)
    await refusal(judge(mail))
    assert len(zone.questions) < 20 + MAX_SIGNATURES * 5


@pytest.mark.parametrize("name", [b"Subject", b"Date"])
async def test_what_people_read_must_be_covered(judge, lovelace: SigningDomain, refusal, name: bytes):
    """A signature that does not cover the subject vouches for any subject."""
    headers = [one for one in (b"from", b"to", b"subject", b"date") if one != name.lower()]
    signed = lovelace.sign(plain_mail().as_bytes(), include_headers=headers)
    assert f"{name.decode()} is not signed" in await refusal(judge(signed))


async def test_a_subject_added_to_a_mail_that_had_none(judge, lovelace: SigningDomain, refusal):
    mail = plain_mail()
    del mail["Subject"]
    signed = lovelace.sign(mail.as_bytes())
    assert await judge(signed)
    assert "Subject is not signed" in await refusal(judge(b"Subject: delete everything\r\n" + signed))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"To", "To occurs more often than it is signed"),
        (b"Content-Type", "Content-Type occurs more often than it is signed"),
        (b"Message-ID", "Message-Id occurs more often than it is signed"),
        (b"Reply-To", None),  # never signed, so nobody relied on it; it is never read, either
    ],
)
def test_headers_are_counted_against_h(name: bytes, why: str | None):
    """Mails with doubled headers are refused before this; who reads signatures of other mails has it, too."""
    signed = SigningDomain("lovelace.example").sign(plain_mail().as_bytes())
    [found] = read_signatures(split_message(name + b": x\r\n" + signed), datetime.now(UTC))
    assert found.problem == why


async def test_a_signature_from_the_future(judge, lovelace: SigningDomain, refusal):
    signed = lovelace.sign(plain_mail().as_bytes())
    assert "in the future" in await refusal(judge(signed, now=datetime.now(UTC) - timedelta(hours=2)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"q=dns/txt;", b"q=dns/txt; x=1a;", "times are unreadable"),
        (b"q=dns/txt;", b"q=dns/txt; x=9999999999999;", "times are unreadable"),
        (b"v=1;", b"v=2;", "unknown version"),
        (b"v=1;", b"", "v= is missing"),
        (b"q=dns/txt;", b"q=http;", "not in the DNS"),
        (b"c=relaxed/relaxed", b"c=loose/relaxed", "canonical"),
        (b"i=@lovelace.example", b"i=@evil.example", "outside of d="),
        (b"h=", b"h=:", "h= is malformed"),
        (b"bh=", b"bh=!", "not base64"),
    ],
)
async def test_malformed_signatures(
    judge, lovelace: SigningDomain, refusal, old: bytes, new: bytes, why: str
):
    signed = lovelace.sign(plain_mail().as_bytes())
    head, _, rest = signed.partition(b"\r\nFrom:")
    head = head.replace(b"v=1;", b"v=1; i=@lovelace.example;") if b" i=" not in head else head
    assert old in head
    assert why in await refusal(judge(head.replace(old, new, 1) + b"\r\nFrom:" + rest))


async def test_x_before_t(judge, lovelace: SigningDomain, refusal):
    signed = lovelace.sign(plain_mail().as_bytes())
    start = signed.index(b" t=") + 3
    made = int(signed[start : signed.index(b";", start)])
    earlier = signed.replace(b"q=dns/txt;", b"q=dns/txt; x=%d;" % (made - 5), 1)
    assert "expires before it was made" in await refusal(judge(earlier))


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
@pytest.mark.parametrize(
    ("bits", "why"), [(512, "too short"), (1023, "too short"), (1024, None), (2048, None)]
)
def test_a_short_rsa_key_proves_nothing(form: PublicFormat, bits: int, why: str | None):
    public = rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) | 1).public_key()
    record = b"v=DKIM1; p=" + base64.b64encode(public.public_bytes(Encoding.DER, form))
    if why is not None:
        with pytest.raises(BadKey, match=why):
            read_key(record, "rsa", domain="a.example", identity="a.example")
        return
    key = read_key(record, "rsa", domain="a.example", identity="a.example")
    assert (key.bits, key.weak) == (bits, bits < 2048)


@settings(max_examples=200, deadline=1000)
@given(st.binary(max_size=300), st.binary(max_size=100))
def test_no_signature_header_takes_long_or_fails(value: bytes, body: bytes):
    value = bytes(byte for byte in value if 32 <= byte < 127)
    mail = parse_message(b"DKIM-Signature: " + value + b"\r\nFrom: a@b.example\r\n\r\nx")
    started = time.monotonic()
    [found] = read_signatures(mail, datetime.now(UTC))
    assert time.monotonic() - started < 1
    assert found.problem is not None or "from" in found.signed

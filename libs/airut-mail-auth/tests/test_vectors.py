"""The worked example of RFC 8463 appendix A, and dkimpy as a second opinion."""

from datetime import UTC, datetime

import dkim
import pytest

from airut_mail_auth.dkim.check import SignatureChecker
from airut_mail_auth.dkim.signatures import read_signatures
from airut_mail_auth.message import parse_message
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

AT = datetime.fromtimestamp(1528637909, UTC)
KEYS = {
    "brisbane": b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test": b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bd"
    b"OKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2E"
    b"eC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}
RFC_8463 = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""


async def _results(text: str) -> list[tuple[str, str]]:
    async def texts(name: str) -> list[bytes]:
        return [KEYS[name.partition(".")[0]]]

    mail = parse_message(text.replace("\n", "\r\n").encode())
    checker = SignatureChecker(mail, texts)
    return [(await checker.check(one))[:2] for one in read_signatures(mail, AT)]


async def test_rfc_8463_appendix_a():
    assert await _results(RFC_8463) == [("pass", ""), ("pass", "")]


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ("dinner", "supper", "the signature does not match"),
        ("Joe SixPack", "Joe Sixpack", "the signature does not match"),
        ("hungry", "angry", "the body was changed"),
        ("t=1528637909", "t=1528637908", "the signature does not match"),
    ],
)
async def test_a_changed_example_fails(old: str, new: str, detail: str):
    assert await _results(RFC_8463.replace(old, new)) == [("fail", detail)] * 2


@pytest.mark.parametrize("algorithm", ["rsa-sha256", "ed25519-sha256"])
@pytest.mark.parametrize("form", ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"])
@pytest.mark.parametrize("text", ["", "\n", "a\n\n\n", " a \t b \n \n", "x" * 900 + "\n", "é\n"])
async def test_what_dkimpy_signs_passes_here_and_what_passes_here_passes_there(
    algorithm, form: str, text: str
):
    domain = SigningDomain("lovelace.example", algorithm=algorithm)
    header, _, body = form.encode().partition(b"/")
    signed = domain.sign(plain_mail(text, subject="a   b\tc").as_bytes(), canonicalize=(header, body))

    async def texts(_: str) -> list[bytes]:
        return [domain.key_record.encode()]

    mail = parse_message(signed)
    [signature] = read_signatures(mail, datetime.now(UTC))
    assert (await SignatureChecker(mail, texts).check(signature))[:2] == ("pass", "")
    assert dkim.verify(signed, dnsfunc=lambda *_, **__: domain.key_record.encode())

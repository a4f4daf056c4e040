"""The grammar of Authentication-Results (RFC 8601), its examples, and what large receivers write."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_mail_auth.authres.grammar import BadResults, Property, parse_results, read_authserv_id
from airut_mail_auth.authres.trusted import TrustedServer, dmarc_result, judge_header
from airut_mail_auth.message import parse_message

MICROSOFT = (
    "spf=pass (sender IP is 192.0.2.7) smtp.mailfrom=lovelace.example; dkim=pass (signature was verified) "
    "header.d=lovelace.example;dmarc=pass action=none header.from=lovelace.example;compauth=pass reason=100"
)
GOOGLE = (
    "mx.google.com; dkim=pass header.i=@lovelace.example header.s=20230601 header.b=Qx/9a+Zz; spf=pass (google.com: "
    "domain of ada@lovelace.example designates 192.0.2.7 as permitted sender) smtp.mailfrom=ada@lovelace.example; "
    "dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=lovelace.example"
)
FASTMAIL = (
    "phl-mx-02.messagingengine.com; arc=none (no signatures found); bimi=skipped (DMARC Policy is not at enforcement); "
    "dkim=pass (2048-bit rsa key sha256) header.d=lovelace.example header.i=@lovelace.example header.b=Ab/c+d1= "
    "header.a=rsa-sha256 header.s=fm1 x-bits=2048; dmarc=pass policy.published-domain-policy=quarantine "
    "policy.applied-disposition=none policy.evaluated-disposition=none (p=quarantine,d=none,d.eval=none) "
    "policy.policy-from=p header.from=lovelace.example; iprev=pass smtp.remote-ip=192.0.2.7 (mx.lovelace.example); "
    "spf=pass smtp.mailfrom=ada@lovelace.example smtp.helo=mx.lovelace.example; x-aligned-from=pass (Address match); "
    "x-return-mx=pass header.domain=lovelace.example policy.is_org=yes (MX Records found: mx.lovelace.example); "
    "x-tls=pass smtp.version=TLSv1.3 smtp.cipher=TLS_AES_256_GCM_SHA384 smtp.bits=256/256; x-vs=clean score=-51 state=0"
)


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        # RFC 8601 appendix B
        ("example.org 1; none", []),
        ("example.com; spf=pass smtp.mailfrom=example.net", [("spf", "pass")]),
        (
            "example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; spf=pass smtp.mailfrom=example.net",
            [("auth", "pass"), ("spf", "pass")],
        ),
        (
            'example.com; dkim=pass (good signature) header.d=example.com; dkim=fail reason="bad signature" '
            "header.d=bad.example",
            [("dkim", "pass"), ("dkim", "fail")],
        ),
        (
            "foo.example.net (foobar) 1 (baz); dkim (Because I like it) / 1 (One yay) = (wait for it) fail "
            "policy (A dot can go here) . (like that) expired (this surprised me) = (as I wasn't expecting it) "
            "1362471462",
            [("dkim", "fail")],
        ),
        ('"mx; dmarc=pass" ; spf=none', [("spf", "none")]),
        ("mx;spf=pass;", [("spf", "pass")]),
        (
            MICROSOFT.join(("mx; ", "")),
            [("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass"), ("compauth", "pass")],
        ),
        (GOOGLE, [("dkim", "pass"), ("spf", "pass"), ("dmarc", "pass")]),
    ],
)
def test_what_is_read(text: str, methods: list[tuple[str, str]]):
    assert [(one.method, one.result) for one in parse_results(text).results] == methods


def test_parts():
    [result] = parse_results('mx; spf=pass reason="it; fits" smtp.mailfrom="a b"@c.example').results
    assert result.reason == "it; fits"
    assert result.properties == (Property("smtp", "mailfrom", "a b@c.example"),)
    assert parse_results(FASTMAIL).results[-1].properties[0] == Property("", "score", "-51")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mx",
        "mx;",
        "; spf=pass",
        "mx 2; spf=pass",
        "mx x; spf=pass",
        "mx 1 1; spf=pass",
        "mx; spf",
        "mx; spf=",
        "mx; =pass",
        "mx; spf=pass; none",
        "mx; none; spf=pass",
        "mx; spf/2=pass",
        "mx; spf=pass smtp.mailfrom",
        "mx; spf=pass smtp.mailfrom=",
        "mx; spf=pass dmarc=pass header.from=a.example",
        "mx; spf=pass header.b=a reason=b",
        "mx; spf=pass (open",
        'mx; spf=pass reason="open',
        "mx; spf=pass) x",
        "mx; spf=pass;; dkim=pass",
        "mx; spf=pass, dkim=pass",
        "mx; spf=pass\x01",
        "mx; " + "spf=pass;" * 200,
        "mx; spf=pass " + "(" * 100,
    ],
)
def test_what_is_not(text: str):
    with pytest.raises(BadResults):
        parse_results(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mx.example; nonsense ((", "mx.example"),
        ("(mx.other;) mx.example (x) 1; spf=pass", "mx.example"),
        ('"mx.example"; spf=pass', "mx.example"),
        ("mx.example 2; spf=pass", None),
        ("mx.example=x; spf=pass", None),
        ("spf=pass", None),
        ("(mx.example; spf=pass", None),
    ],
)
def test_whose_it_is(text: str, name: str | None):
    assert read_authserv_id(text) == name


def _judge(*values: str, authserv_id: str):
    lines = [*(f"Authentication-Results: {value}" for value in values), "From: ada@lovelace.example", "", ""]
    server = TrustedServer(authserv_id, ["192.0.2.0/24"])
    return judge_header(parse_message("\r\n".join(lines).encode()), "lovelace.example", "192.0.2.1", server)


@pytest.mark.parametrize(
    ("value", "authserv_id"),
    [
        (GOOGLE, "mx.google.com"),
        (FASTMAIL, "*.messagingengine.com"),
        (MICROSOFT, ""),
    ],
)
def test_the_headers_of_large_receivers(value: str, authserv_id: str):
    assert _judge(value, authserv_id=authserv_id).proof is not None
    failed = value.replace("dmarc=pass", "dmarc=fail")
    assert _judge(failed, value, authserv_id=authserv_id).proof is None
    assert _judge(value.replace("dmarc=pass", "dmarc=bestguesspass"), authserv_id=authserv_id).proof is None


@pytest.mark.parametrize(
    "name", ["messagingengine.com", ".messagingengine.com", "a.b.messagingengine.com", "xmessagingengine.com"]
)
def test_a_star_stands_for_one_label(name: str):
    value = FASTMAIL.replace("phl-mx-02.messagingengine.com", name)
    assert _judge(value, authserv_id="*.messagingengine.com").proof is None


def test_without_a_name_only_the_topmost_header_of_all_counts():
    """Microsoft 365 writes no name, so anything above its header is somebody else's, and so is what lies below."""
    assert _judge("mx.other.example; spf=pass", MICROSOFT, authserv_id="").proof is None
    assert _judge(GOOGLE, authserv_id="").proof is None
    assert _judge(MICROSOFT, GOOGLE, authserv_id="").proof is not None


def test_a_name_that_comes_from_mail_from_can_forge_no_second_result():
    """An upstream that copies the envelope without quoting it: then there are two, and none counts."""
    value = "mx.airut.example; spf=pass smtp.mailfrom=x; dmarc=pass header.from=lovelace.example; dmarc=fail header.from=lovelace.example"
    assert _judge(value, authserv_id="mx.airut.example").proof is None


PIECES = st.sampled_from([*'ab=;().," \\\t/1d-@', "dmarc", "pass", "header.from"])


@settings(max_examples=400, deadline=1000)
@given(st.lists(PIECES, max_size=60).map("".join))
def test_any_text_is_read_or_refused_and_passes_only_as_a_single_result(text: str):
    started = time.monotonic()
    try:
        results = parse_results(text)
    except BadResults:
        return
    finally:
        assert time.monotonic() - started < 1
    result, domain = dmarc_result(results)
    assert result is None or "dmarc" in text
    assert domain is None or "header.from" in text


@pytest.mark.parametrize("piece", ["(", "()", '"', "\\", " ", "a=b;", "a.b=c "])
def test_row_35_long_values_take_no_time(piece: str):
    started = time.monotonic()
    with pytest.raises(BadResults):
        parse_results("mx; spf=pass " + piece * (8000 // len(piece)) + "(")
    read_authserv_id(piece * 60_000)
    assert time.monotonic() - started < 2

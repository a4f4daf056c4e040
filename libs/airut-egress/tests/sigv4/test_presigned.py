"""Presigned URLs: rebuilt as botocore presigns with the real key, and good for no longer."""

from dataclasses import replace

import pytest

from airut_egress.sigv4 import Refused, find_key_id, resign

from .signing import NOW, REAL, REAL_STS, SURROGATE, SURROGATE_STS, resigned, sign, timedelta

S3 = "https://bucket.s3.eu-west-1.amazonaws.com"
CASES = [
    {"method": "GET", "url": f"{S3}/a%20b/%E1%88%B4"},
    {"method": "GET", "url": f"{S3}/key?versionId=a%2Fb&response-content-type=text%2Fplain"},
    {"method": "PUT", "url": f"{S3}/key", "headers": {"Content-Type": "text/plain", "x-amz-meta-a": "b"}},
]


def presign(pair, case=CASES[0], **more):
    return sign(pair, **(case | {"service": "s3", "expires": 3600} | more))


@pytest.mark.parametrize(("surrogate", "real"), [(SURROGATE, REAL), (SURROGATE_STS, REAL_STS)])
@pytest.mark.parametrize("case", CASES)
def test_same_bytes_as_botocore_makes_with_the_real_key(case, surrogate, real):
    signed, expected = presign(surrogate, case), presign(real, case)
    assert find_key_id(signed.headers, signed.target) == surrogate.access_key_id
    result = resigned(signed, surrogate, real)
    assert result.target == expected.target
    assert result.headers == signed.headers
    assert result.body.kind == "unsigned"
    assert "Signature" not in repr(result)


def test_a_token_comes_and_goes_with_the_key():
    assert resigned(presign(SURROGATE_STS), SURROGATE_STS, REAL).target == presign(REAL).target
    assert resigned(presign(SURROGATE), SURROGATE, REAL_STS).target == presign(REAL_STS).target


def test_other_services_sign_the_body():
    case = {
        "url": "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
        "service": "sts",
        "expires": 60,
    }
    signed = sign(SURROGATE, **case)
    assert resigned(signed).body.kind == "needs-body"
    arguments = signed.arguments() | {"surrogate": SURROGATE, "real": REAL, "now": NOW}
    assert resign(**arguments, body=b"").target == sign(REAL, **case).target
    with pytest.raises(Refused, match="match"):
        resign(**arguments, body=b"x")


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(-901, "future"), (-900, None), (3600, None), (3601, "expired"), (10**6, "expired")],
)
def test_expiry(seconds, reason):
    now = NOW + timedelta(seconds=seconds)
    if reason is None:
        resigned(presign(SURROGATE), now=now)
    else:
        with pytest.raises(Refused, match=reason):
            resigned(presign(SURROGATE), now=now)


GOOD = presign(SURROGATE)


def edit(old: str, new: str):
    target = GOOD.target.replace(old.encode(), new.encode())
    assert target != GOOD.target
    return replace(GOOD, target=target)


ATTACKS = {
    "method": (replace(GOOD, method="PUT"), "match"),
    "path": (edit("/a%20b", "/c"), "match"),
    "longer": (edit("Expires=3600", "Expires=36000"), "match"),
    "no end": (edit("Expires=3600", "Expires=604801"), "Expires"),
    "zero": (edit("Expires=3600", "Expires=0"), "Expires"),
    "more parameters": (edit("?", "?acl&"), "match"),
    "after the signature": (replace(GOOD, target=GOOD.target + b"&acl"), "match"),
    "region": (edit("eu-west-1", "us-east-1"), "match"),
    "two signatures": (replace(GOOD, target=GOOD.target + b"&X-Amz-Signature=00"), "repeated"),
    "two in another case": (replace(GOOD, target=GOOD.target + b"&x-amz-signature=00"), "malformed"),
    "encoded name": (edit("X-Amz-Date", "X-Amz-Dat%65"), "malformed"),
    "no date": (edit("X-Amz-Date", "X-Date"), "x-amz-date"),
    "no algorithm": (edit("X-Amz-Algorithm", "X-Algorithm"), "X-Amz-Algorithm"),
    "header beside it": (GOOD.having("authorization", "Bearer x"), "in its query"),
    "unsigned x-amz header": (GOOD.having("x-amz-acl", "public-read"), "not signed"),
    "token in a header": (GOOD.having("x-amz-security-token", "x"), "not signed"),
    "host not signed": (edit("SignedHeaders=host", "SignedHeaders=date"), "host"),
    "signed framing": (
        edit("SignedHeaders=host", "SignedHeaders=host%3Btransfer-encoding"),
        "transfer-encoding",
    ),
    "host": (replace(GOOD, host="evil.example", headers=[(b"host", b"evil.example")]), "match"),
    "empty parameter": (edit("?", "?&"), "without a name"),
    "S3 Express": (replace(GOOD, target=GOOD.target + b"&X-Amz-S3session-Token=x"), "Express"),
}


def test_untouched_it_passes():
    resigned(GOOD)


@pytest.mark.parametrize("name", ATTACKS)
def test_tampering_is_refused(name):
    signed, reason = ATTACKS[name]
    with pytest.raises(Refused, match=reason):
        resigned(signed)


def test_a_stale_token_is_refused():
    with pytest.raises(Refused, match="token"):
        resigned(presign(replace(SURROGATE_STS, session_token="stale")), SURROGATE_STS, REAL_STS)


def test_the_payload_may_be_named_in_the_query():
    url = f"{S3}/key?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"
    case = {"url": url, "service": "s3", "expires": 60}
    result = resigned(sign(SURROGATE, **case))
    assert (result.target, result.body.kind) == (sign(REAL, **case).target, "unsigned")

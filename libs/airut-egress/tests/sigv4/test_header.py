"""Signatures in the Authorization header: what botocore signs with the surrogate comes out as botocore signs it with
the real key, byte for byte; and what is tampered with is refused."""

import hashlib
from dataclasses import replace

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth

from airut_egress.sigv4 import KeyPair, Refused, find_key_id, resign

from .signing import (
    NOW,
    REAL,
    REAL_STS,
    SURROGATE,
    SURROGATE_STS,
    Signed,
    header_of,
    resigned,
    sign,
    timedelta,
)

DYNAMO = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    "User-Agent": "aws-cli/2",
}
S3 = "https://bucket.s3.eu-west-1.amazonaws.com"
PAIRS = [(SURROGATE, REAL), (SURROGATE_STS, REAL_STS)]

CASES = [
    pytest.param({"method": "POST", "headers": DYNAMO, "body": b"{}", "content_sha256": True}, id="dynamodb"),
    pytest.param({"method": "GET", "url": f"{S3}/", "service": "s3"}, id="s3-list"),
    pytest.param({"method": "GET", "url": f"{S3}/?list-type=2&prefix=a%2Fb%20c&delimiter=%2F", "service": "s3"}, id="s3-query"),
    pytest.param({"method": "GET", "url": f"{S3}/?acl", "service": "s3"}, id="s3-subresource"),
    pytest.param({"method": "GET", "url": f"{S3}//a//b/../c/./", "service": "s3"}, id="s3-dots"),
    pytest.param({"method": "GET", "url": f"{S3}/a%20b/%E1%88%B4/c%2Bd%25e~", "service": "s3"}, id="s3-odd-key"),
    pytest.param({"method": "PUT", "url": f"{S3}/key", "service": "s3", "body": b"x" * 1000, "headers": {"x-amz-meta-A": "  b   c "}}, id="s3-put"),
    pytest.param(
        {"method": "GET", "url": "https://bedrock-runtime.eu-west-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3A1%2Fa/invoke/", "service": "bedrock", "content_sha256": True},
        id="bedrock-arn",
    ),
    pytest.param({"url": "https://x.amazonaws.com//a/./b/../c%20d/", "service": "execute-api", "content_sha256": True}, id="dots"),
    pytest.param({"url": "https://x.amazonaws.com/?b=2&a=2&a=1&B=&c", "service": "execute-api", "content_sha256": True}, id="query-order"),
    pytest.param({"url": "https://x.amazonaws.com/?%E1%88%B4=bar&p=%2A~-_.", "service": "execute-api", "content_sha256": True}, id="query-utf8"),
    pytest.param({"url": "https://x.amazonaws.com/a:b@c", "service": "execute-api", "content_sha256": True}, id="reserved"),
    pytest.param({"url": "https://x.amazonaws.com:8443/", "service": "execute-api", "content_sha256": True}, id="port"),
]  # fmt: skip


@pytest.mark.parametrize(("surrogate", "real"), PAIRS)
@pytest.mark.parametrize("case", CASES)
def test_same_bytes_as_botocore_makes_with_the_real_key(case, surrogate, real):
    signed, expected = sign(surrogate, **case), sign(real, **case)
    result = resigned(signed, surrogate, real)
    assert result.headers == expected.headers
    assert result.target == expected.target
    assert result.body.kind == "hashed"
    assert result.body.digest == hashlib.sha256(signed.body).hexdigest()
    secrets = (surrogate.access_key_id, surrogate.session_token or surrogate.secret)
    assert not any(secret in repr(result.headers) for secret in secrets)


STS = {
    "method": "POST",
    "url": "https://sts.eu-west-1.amazonaws.com/",
    "service": "sts",
    "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
    "body": b"Action=GetCallerIdentity&Version=2011-06-15",
}


@pytest.mark.parametrize(("surrogate", "real"), PAIRS)
def test_a_body_without_a_digest_in_a_header_is_asked_for(surrogate, real):
    signed = sign(surrogate, **STS)
    first = resigned(signed, surrogate, real)
    assert (first.body.kind, first.headers) == ("needs-body", [])
    arguments = signed.arguments() | {"surrogate": surrogate, "real": real, "now": NOW}
    result = resign(**arguments, body=signed.body)
    assert result.headers == sign(real, **STS).headers
    with pytest.raises(Refused, match="does not match"):
        resign(**arguments, body=signed.body + b"&x")


def test_a_token_comes_and_goes_with_the_key():
    case = dict(CASES[0].values[0])
    added = resigned(sign(SURROGATE, **case), SURROGATE, REAL_STS)
    expected = sign(REAL_STS, **case)
    assert header_of(added, "authorization") == expected.get("authorization")
    assert header_of(added, "x-amz-security-token") == REAL_STS.session_token.encode()
    removed = resigned(sign(SURROGATE_STS, **case), SURROGATE_STS, REAL)
    assert removed.headers == sign(REAL, **case).headers


def test_http2_has_the_authority_in_place_of_the_host():
    signed = sign(SURROGATE, headers=DYNAMO, content_sha256=True)
    h2 = Signed(
        "GET",
        signed.host,
        signed.target,
        [(b":authority", signed.host.encode()), *((k.lower(), v) for k, v in signed.without("host").headers)],
    )
    expected = sign(REAL, headers=DYNAMO, content_sha256=True)
    assert header_of(resigned(h2), "authorization") == expected.get("authorization")
    with pytest.raises(Refused, match="host"):
        resigned(h2.having("host", "other.amazonaws.com"))


def test_the_body_is_held_to_its_digest():
    result = resigned(sign(SURROGATE, "PUT", f"{S3}/key", service="s3", body=b"hello world"))
    check = result.body.check()
    for byte in b"hello world":
        check.update(bytes([byte]))
    check.finish()
    changed = result.body.check()
    changed.update(b"hello World")
    with pytest.raises(Refused, match="body"):
        changed.finish()


def test_an_unsigned_payload_stays_so():
    headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    case = {"service": "execute-api", "headers": headers}
    result = resigned(sign(SURROGATE, **case))
    assert result.headers == sign(REAL, **case).headers
    assert result.body.kind == "unsigned"


CHUNKED = {
    "url": f"{S3}/key",
    "service": "s3",
    "headers": {"Transfer-Encoding": "chunked", "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"},
}


@pytest.fixture
def signed_by_an_older_client(monkeypatch: pytest.MonkeyPatch) -> Signed:
    """SDKs signed the framing until the beginning of 2025 (boto/botocore#3351)."""
    newer = botocore.auth.SIGNED_HEADERS_BLACKLIST
    older = [name for name in newer if name != "transfer-encoding"]
    with monkeypatch.context() as patched:
        patched.setattr(botocore.auth, "SIGNED_HEADERS_BLACKLIST", older)
        signed = sign(SURROGATE, "PUT", **CHUNKED)
    assert b";transfer-encoding;" in (signed.get("authorization") or b"")
    return signed


def test_framing_that_is_signed_comes_out_as_newer_clients_sign(signed_by_an_older_client: Signed) -> None:
    assert resigned(signed_by_an_older_client).headers == sign(REAL, "PUT", **CHUNKED).headers


def test_framing_that_is_signed_is_what_was_signed(signed_by_an_older_client: Signed) -> None:
    with pytest.raises(Refused, match="match"):
        resigned(edit(signed_by_an_older_client, "transfer-encoding", "chunked", "identity"))
    with pytest.raises(Refused, match="transfer-encoding is missing"):
        resigned(signed_by_an_older_client.without("transfer-encoding"))


GOOD = sign(SURROGATE, "POST", headers=DYNAMO, body=b"{}", content_sha256=True)
TEMPORARY = sign(SURROGATE_STS, "POST", headers=DYNAMO, body=b"{}", content_sha256=True)


def edit(signed: Signed, name: str, old: str, new: str) -> Signed:
    headers = [
        (key, value.replace(old.encode(), new.encode()) if key.lower() == name.encode() else value)
        for key, value in signed.headers
    ]
    assert headers != signed.headers
    return replace(signed, headers=headers)


ATTACKS = {
    "changed method": (replace(GOOD, method="PUT"), "match"),
    "changed path": (replace(GOOD, target=b"/x"), "match"),
    "changed query": (replace(GOOD, target=b"/?x=1"), "match"),
    "changed host": (edit(replace(GOOD, host="evil.example"), "host", GOOD.host, "evil.example"), "match"),
    "host is not where it goes": (replace(GOOD, host="evil.example"), "host"),
    "changed header": (edit(GOOD, "x-amz-target", "List", "Scan"), "match"),
    "changed digest": (edit(GOOD, "x-amz-content-sha256", "44", "45"), "match"),
    "changed region": (edit(GOOD, "authorization", "/eu-west-1/", "/us-east-1/"), "match"),
    "changed service": (edit(GOOD, "authorization", "/dynamodb/", "/iam/"), "match"),
    "changed time": (edit(GOOD, "x-amz-date", "123015Z", "123016Z"), "match"),
    "changed day": (edit(GOOD, "x-amz-date", "20260504", "20260503"), "date"),
    "no such day": (edit(edit(GOOD, "x-amz-date", "20260504", "20260231"), "authorization", "20260504", "20260231"), "malformed"),
    "no date": (GOOD.without("x-amz-date"), "x-amz-date is missing"),
    "unsigned x-amz header": (GOOD.having("X-Amz-Acl", "public-read"), "x-amz-acl is not signed"),
    "the same with an underscore": (GOOD.having("x_amz_acl", "public-read"), "is not signed"),
    "token where none is due": (GOOD.having("X-Amz-Security-Token", "x"), "is not signed"),
    "repeated signed header": (GOOD.having("content-type", "text/plain"), "repeated"),
    "repeated date": (GOOD.having("x-amz-date", "20260504T123015Z"), "repeated"),
    "two Authorization headers": (GOOD.having("authorization", "Bearer x"), "more than one"),
    "presigned too": (replace(GOOD, target=b"/?X-Amz-Credential=x"), "in its query"),
    "hidden presigned too": (replace(GOOD, target=b"/?x-amz-credentia%6c=x"), "in its query"),
    "token in the query": (replace(GOOD, target=b"/?X-Amz-Security-Token=x"), "in its query"),
    "host not signed": (edit(GOOD, "authorization", "host;", ""), "host is not among"),
    "unsorted": (edit(GOOD, "authorization", "content-type;host", "host;content-type"), "SignedHeaders"),
    "signed connection": (edit(GOOD, "authorization", "content-type;host", "connection;host"), "connection"),
    "short scope": (edit(GOOD, "authorization", "/eu-west-1/", "/"), "scope is malformed"),
    "long scope": (edit(GOOD, "authorization", "/eu-west-1/", "/eu-west-1/x/"), "scope is malformed"),
    "wrong end": (edit(GOOD, "authorization", "aws4_request", "aws5_request"), "scope is malformed"),
    "other algorithm": (edit(GOOD, "authorization", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "algorithm"),
    "lower case scheme": (edit(GOOD, "authorization", "AWS4-HMAC", "aws4-hmac"), "malformed"),
    "other key id": (edit(GOOD, "authorization", SURROGATE.access_key_id, REAL.access_key_id), "not this session"),
    "plus in the query": (replace(GOOD, target=b"/?a=b+c"), "ambiguous"),
    "encoded dots": (replace(GOOD, target=b"/a/%2e%2E/b"), "ambiguous"),
    "dots at the end": (replace(GOOD, target=b"/a/b/.."), "ambiguous"),
    "backslash": (replace(GOOD, target=b"/a\\b"), "target"),
    "absolute target": (replace(GOOD, target=b"https://evil.example/"), "target"),
    "space in the target": (replace(GOOD, target=b"/a b"), "target"),
    "malformed escape": (replace(GOOD, target=b"/%zz"), "escape"),
    "tab in a value": (edit(GOOD, "content-type", "application/", "application\t"), "control"),
    "chunked without a length": (edit(GOOD, "x-amz-content-sha256", hashlib.sha256(b"{}").hexdigest(), "STREAMING-AWS4-HMAC-SHA256-EVENTS"), "kind of payload"),
}  # fmt: skip


def test_untouched_it_passes():
    resigned(GOOD)
    resigned(TEMPORARY, SURROGATE_STS, REAL_STS)


@pytest.mark.parametrize("name", ATTACKS)
def test_tampering_is_refused(name):
    signed, reason = ATTACKS[name]
    with pytest.raises(Refused, match=reason) as refusal:
        resigned(signed)
    for secret in (SURROGATE.secret, REAL.secret, REAL.access_key_id):
        assert secret not in str(refusal.value)


def test_another_secret_does_not_verify():
    with pytest.raises(Refused, match="match"):
        resigned(sign(KeyPair(SURROGATE.access_key_id, "guess"), headers=DYNAMO, content_sha256=True))


@pytest.mark.parametrize("token", ["stale", REAL_STS.session_token])
def test_a_stale_token_is_refused(token):
    stale = sign(replace(SURROGATE_STS, session_token=token), headers=DYNAMO, content_sha256=True)
    with pytest.raises(Refused, match="x-amz-security-token") as refusal:
        resigned(stale, SURROGATE_STS, REAL_STS)
    assert token not in str(refusal.value)
    missing = sign(replace(SURROGATE_STS, session_token=None), headers=DYNAMO, content_sha256=True)
    with pytest.raises(Refused, match="x-amz-security-token"):
        resigned(missing, SURROGATE_STS, REAL_STS)


@pytest.mark.parametrize(
    ("minutes", "passes"), [(-16, False), (-15, True), (0, True), (15, True), (16, False)]
)
def test_replay_after_fifteen_minutes_is_refused(minutes, passes):
    now = NOW + timedelta(minutes=minutes)
    if passes:
        assert resigned(GOOD, now=now).headers == resigned(GOOD).headers
    else:
        with pytest.raises(Refused, match=r"older|future"):
            resigned(GOOD, now=now)


def test_limits():
    both = {"services": frozenset({"dynamodb"}), "regions": frozenset({"eu-west-1"})}
    resigned(GOOD, **both)
    with pytest.raises(Refused, match="service dynamodb"):
        resigned(GOOD, services=frozenset({"s3"}))
    with pytest.raises(Refused, match="region eu-west-1"):
        resigned(GOOD, regions=frozenset({"us-east-1"}))


def test_s3_paths_that_can_be_read_in_two_ways():
    for path in ("/a+b", "/a/%2e%2e/b", "/%2e"):
        with pytest.raises(Refused, match="ambiguous"):
            resigned(sign(SURROGATE, url=S3 + path, service="s3"))


def test_find_key_id():
    assert find_key_id(GOOD.headers, GOOD.target) == SURROGATE.access_key_id
    assert find_key_id([], b"/?a=b") is None
    assert find_key_id([(b"authorization", b"Bearer x")], b"*") is None
    assert find_key_id([(b"authorization", b"AWS AKIA:sig")], b"/") is None
    assert find_key_id([], b"/?X-Amz-Credential=AKIDEXAMPLE%2F2015") == "AKIDEXAMPLE"
    for headers, target in [
        ([*GOOD.headers, (b"Authorization", b"AWS4-HMAC-SHA256 x")], b"/"),
        (GOOD.headers, b"/?X-Amz-Credential=x"),
        ([(b"authorization", b"Basic x")], b"/?X-Amz-Signature=x"),
        ([(b"authorization", b"AWS4-HMAC-SHA256 x")], b"/"),
        ([], b"/?X-Amz-Credential=a/b&X-Amz-Credential=a/b"),
        ([], b"/?X-Amz-Signature=a"),
    ]:
        with pytest.raises(Refused):
            find_key_id(headers, target)


def test_nothing_that_is_printed_shows_a_secret():
    result = resigned(TEMPORARY, SURROGATE_STS, REAL_STS)
    text = repr((SURROGATE_STS, REAL_STS, result))
    for secret in (SURROGATE_STS.secret, REAL_STS.secret, REAL_STS.session_token):
        assert secret not in text


def test_the_authority_itself_may_be_signed():
    class Auth(S3SigV4Auth):
        def headers_to_sign(self, request):
            names = super().headers_to_sign(request)
            names[":authority"] = names["host"]
            del names["host"]
            return names

    case = {"url": f"{S3}/key", "service": "s3", "signer": Auth}
    signed, expected = sign(SURROGATE, **case), sign(REAL, **case)
    with pytest.raises(Refused, match=":authority is missing"):
        resigned(signed)
    result = resigned(signed.without("host").having(":authority", signed.host))
    assert header_of(result, "authorization") == expected.get("authorization")


def test_s3_express_sessions_are_refused():
    case = {"url": f"{S3}/", "service": "s3express", "signer": S3SigV4Auth}
    with pytest.raises(Refused, match="Express"):
        resigned(sign(SURROGATE, headers={"x-amz-s3session-token": "x"}, **case))

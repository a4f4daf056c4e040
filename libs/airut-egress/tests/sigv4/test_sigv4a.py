"""SigV4A. The strings to sign are put together here from the documentation; ECDSA signatures differ each time, so they
are verified and not compared. (Key derivation and a published signature are in `test_vectors`.)"""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from airut_egress.sigv4 import KeyPair, Refused
from airut_egress.sigv4.keys import derive_p256

from .signing import NOW, REAL, REAL_STS, SURROGATE, SURROGATE_STS, Signed, header_of, resigned, timedelta

ALGORITHM = "AWS4-ECDSA-P256-SHA256"
SCOPE = "20260504/s3/aws4_request"
DATE = "20260504T123015Z"
EMPTY = hashlib.sha256(b"").hexdigest()
ECDSA = ec.ECDSA(hashes.SHA256())


def text_of(headers: dict[str, str]) -> bytes:
    signed = sorted(headers)
    lines = "".join(f"{name}:{headers[name]}\n" for name in signed)
    canonical = f"PUT\n/a%20b\nx=1\n{lines}\n{';'.join(signed)}\n{headers['x-amz-content-sha256']}"
    return f"{ALGORITHM}\n{DATE}\n{SCOPE}\n{hashlib.sha256(canonical.encode()).hexdigest()}".encode()


def sign(pair: KeyPair, regions: str = "us-east-1,eu-west-1", more: dict[str, str] | None = None):
    headers = {
        "host": "x.accesspoint.s3-global.amazonaws.com",
        "x-amz-content-sha256": EMPTY,
        "x-amz-date": DATE,
        "x-amz-region-set": regions,
    } | (more or {})
    if pair.session_token:
        headers["x-amz-security-token"] = pair.session_token
    signature = derive_p256(pair).sign(text_of(headers), ECDSA).hex()
    authorization = (
        f"{ALGORITHM} Credential={pair.access_key_id}/{SCOPE}, "
        f"SignedHeaders={';'.join(sorted(headers))}, Signature={signature}"
    )
    wire = [(name.encode(), value.encode()) for name, value in headers.items()]
    wire.append((b"authorization", authorization.encode()))
    return Signed("PUT", headers["host"], b"/a%20b?x=1", wire)


def verify(pair: KeyPair, headers) -> str:
    """The signature in an Authorization header, when it is the pair's."""
    values = {name.decode(): value.decode() for name, value in headers}
    authorization = values.pop("authorization")
    assert authorization.startswith(f"{ALGORITHM} Credential={pair.access_key_id}/{SCOPE}, ")
    assert f"SignedHeaders={';'.join(sorted(values))}, " in authorization
    signature = authorization.rpartition("=")[2]
    derive_p256(pair).public_key().verify(bytes.fromhex(signature), text_of(values), ECDSA)
    return signature


@pytest.mark.parametrize(
    ("surrogate", "real"),
    [(SURROGATE, REAL), (SURROGATE_STS, REAL_STS), (SURROGATE, REAL_STS), (SURROGATE_STS, REAL)],
)
def test_header(surrogate, real):
    result = resigned(sign(surrogate), surrogate, real)
    verify(real, result.headers)
    token = None if real.session_token is None else real.session_token.encode()
    assert header_of(result, "x-amz-security-token") == token


def test_limits():
    both = frozenset({"us-east-1", "eu-west-1"})
    resigned(sign(SURROGATE), regions=both)
    for regions in ("*", "eu-*", "eu-west-1,eu-west-2", "", "a b"):
        with pytest.raises(Refused, match="region"):
            resigned(sign(SURROGATE, regions), regions=both)
    resigned(sign(SURROGATE, "*"))


def test_tampering_is_refused():
    good = sign(SURROGATE)
    changed = [
        (k, v.replace(b"eu-west-1", b"eu-west-2") if k == b"x-amz-region-set" else v) for k, v in good.headers
    ]
    authorization = good.get("authorization")
    attacks = [
        Signed("PUT", good.host, good.target, changed),
        Signed("GET", good.host, good.target, good.headers),
        Signed("PUT", good.host, b"/c", good.headers),
        good.without("authorization").having("authorization", authorization[:-2].decode()),
        good.without("authorization").having("authorization", authorization.decode() + "00"),
        good.without("authorization").having("authorization", authorization.decode()[:-1]),
        sign(KeyPair(SURROGATE.access_key_id, "guess")),
    ]
    for attack in attacks:
        with pytest.raises(Refused, match="match"):
            resigned(attack)
    with pytest.raises(Refused, match="region-set"):
        resigned(good.without("x-amz-region-set"))
    with pytest.raises(Refused, match="older"):
        resigned(good, now=NOW + timedelta(minutes=16))


def test_a_hmac_scope_is_refused():
    good = sign(SURROGATE)
    value = good.get("authorization").decode().replace("20260504/s3", "20260504/us-east-1/s3")
    with pytest.raises(Refused, match="scope"):
        resigned(good.without("authorization").having("authorization", value))


def link(pair, kind, last, digests):
    text = f"{ALGORITHM}-{kind}\n{DATE}\n{SCOPE}\n{last}\n{digests}".encode()
    return derive_p256(pair).sign(text, ECDSA).hex()


def test_signed_chunks():
    trailers = "x-amz-checksum-crc32:AAAAAA==\n"
    more = {
        "x-amz-content-sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": "300",
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    signed = sign(SURROGATE, more=more)
    last = signed.get("authorization").decode().rpartition("=")[2]
    body = b""
    for data in (b"a" * 300, b""):
        last = link(SURROGATE, "PAYLOAD", last, f"{EMPTY}\n{hashlib.sha256(data).hexdigest()}")
        body += f"{len(data):x};chunk-signature={last:*<144}\r\n".encode() + data + (b"\r\n" if data else b"")
    last = link(SURROGATE, "TRAILER", last, hashlib.sha256(trailers.encode()).hexdigest())
    body += f"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:{last:*<144}\r\n\r\n".encode()

    result = resigned(signed)
    last = verify(REAL, result.headers)
    made = b"".join(result.body.chunks.feed(body[at : at + 1]) for at in range(len(body)))
    result.body.chunks.finish()
    assert len(made) == len(body)
    public = derive_p256(REAL).public_key()
    for data, line in [(b"a" * 300, made.split(b"\r\n")[0]), (b"", made.split(b"\r\n")[2])]:
        text = f"{ALGORITHM}-PAYLOAD\n{DATE}\n{SCOPE}\n{last}\n{EMPTY}\n{hashlib.sha256(data).hexdigest()}"
        last = line.decode().rpartition("=")[2].rstrip("*")
        public.verify(bytes.fromhex(last), text.encode(), ECDSA)
    text = f"{ALGORITHM}-TRAILER\n{DATE}\n{SCOPE}\n{last}\n{hashlib.sha256(trailers.encode()).hexdigest()}"
    signature = made.split(b"\r\n")[4].decode().rpartition(":")[2].rstrip("*")
    public.verify(bytes.fromhex(signature), text.encode(), ECDSA)

    again = resigned(signed).body.chunks
    with pytest.raises(Refused, match="match"):
        again.feed(body.replace(b"aaa", b"aab"))

"""Signatures that AWS publishes, for the requests that it publishes them for (the Signature Version 4 test suite, and
the examples in the S3 API Reference). They are verified and, with the example key as the real one, made again."""

from datetime import UTC, datetime

import pytest

from airut_egress.sigv4 import KeyPair, resign
from airut_egress.sigv4.canonical import canonical_path
from airut_egress.sigv4.keys import derive_p256

from .signing import Signed, header_of

EXAMPLE = KeyPair("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

SUITE = [
    ("get-vanilla", "GET", "/", {}, b"", VANILLA),
    ("get-slash", "GET", "//", {}, b"", VANILLA),
    ("get-slash-dot-slash", "GET", "/./", {}, b"", VANILLA),
    ("get-relative", "GET", "/example/..", {}, b"", VANILLA),
    ("get-relative-relative", "GET", "/example1/example2/../..", {}, b"", VANILLA),
    ("get-slashes", "GET", "//example//", {}, b"", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("get-slash-pointless-dot", "GET", "/./example", {}, b"", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    ("get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", {}, b"", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", {}, b"", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("get-vanilla-empty-query-key", "GET", "/?Param1=value1", {}, b"", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    ("get-vanilla-utf8-query", "GET", "/?%E1%88%B4=bar", {}, b"", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    ("get-header-value-trim", "GET", "/", {"My-Header1": " value1", "My-Header2": ' "a   b   c"'}, b"", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("post-header-key-sort", "POST", "/", {"My-Header1": "value1"}, b"", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("post-x-www-form-urlencoded", "POST", "/", FORM, b"Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
]  # fmt: skip


def request(method, target, headers, signature):
    wire = {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"} | headers
    names = ";".join(sorted(name.lower() for name in wire))
    credential = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    wire["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    encoded = [(name.encode(), value.encode()) for name, value in wire.items()]
    return Signed(method, "example.amazonaws.com", target.encode(), encoded)


@pytest.mark.parametrize(("method", "target", "headers", "body", "signature"), [case[1:] for case in SUITE], ids=[case[0] for case in SUITE])  # fmt: skip
def test_suite(method, target, headers, body, signature):
    signed = request(method, target, headers, signature)
    result = resign(**signed.arguments(), surrogate=EXAMPLE, real=EXAMPLE, now=AT, body=body)
    assert header_of(result, "authorization") == signed.get("authorization")


@pytest.mark.parametrize(
    ("path", "plain", "s3"),
    [
        (b"/example space/", b"/example%20space/", b"/example%20space/"),
        ("/ሴ".encode(), b"/%E1%88%B4", b"/%E1%88%B4"),
        (b"/%e1%88%b4", b"/%25e1%2588%25b4", b"/%E1%88%B4"),
        (b"/a%2Fb/", b"/a%252Fb/", b"/a%2Fb/"),
        (b"/a/../b//c/./d", b"/b/c/d", b"/a/../b//c/./d"),
        (b"/../../a", b"/a", b"/../../a"),
        (b"/a:b@c", b"/a%3Ab%40c", b"/a%3Ab%40c"),
    ],
)
def test_paths(path, plain, s3):
    assert canonical_path(path, "service") == plain
    assert canonical_path(path, "s3") == s3


def test_sigv4a_key_derivation():
    pair = KeyPair("AKISORANDOMAASORANDOM", "q+jcrXGc+0zWN6uzclKVhvMmUsIfRPa4rlRandom")
    numbers = derive_p256(pair).public_key().public_numbers()
    assert f"{numbers.x:064x}" == "15d242ceebf8d8169fd6a8b5a746c41140414c3b07579038da06af89190fffcb"
    assert f"{numbers.y:064x}" == "0515242cedd82e94799482e4c0514b505afccf2c0c98d6a553bf539f424c5ec0"


def test_sigv4a_signature_in_a_query():
    target = (
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1&X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256"
        "&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z"
        "&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Region-Set=us-east-1&X-Amz-Signature="
        "3046022100e25504f18aab11f2f511664a9e6b98f522b9c8bd95ad0c7502b56ff4248d2dba"
        "022100c00ee21af060180bac879294598c03ba8523367daf1edf88688923a21f26e0df"
    )
    host = "example.amazonaws.com"
    resign(
        method="GET",
        host=host,
        raw_target=target.encode(),
        headers=[(b"host", host.encode())],
        surrogate=EXAMPLE,
        real=EXAMPLE,
        now=AT,
        body=b"",
    )

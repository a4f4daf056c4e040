"""Requests of any shape: the same as botocore makes, or refused, and never another exception."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airut_egress.sigv4 import Refused, find_key_id, resign

from .signing import NOW, REAL_STS, SURROGATE_STS, Signed, header_of, resigned, sign

TEXT = st.text(max_size=12).filter(lambda text: text.isprintable() or not text.isascii())
SEGMENTS = st.lists(TEXT, max_size=4)
QUERY = st.lists(st.tuples(st.text(min_size=1, max_size=6), TEXT), max_size=4)
NAMES = st.from_regex(r"x-amz-meta-[a-z0-9]{1,8}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)
PAIRS = (SURROGATE_STS, REAL_STS)


@given(
    st.sampled_from(["s3", "execute-api"]),
    SEGMENTS,
    QUERY,
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.sampled_from([None, 60]),
    st.binary(max_size=20),
)
def test_same_bytes_as_botocore(service, segments, query, headers, expires, body):
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    if expires is not None:
        pairs, body = "", b""  # botocore keeps neither a repeated parameter nor a form in a presigned URL
    case = {
        "method": "POST",
        "url": f"https://example.amazonaws.com{path}" + (f"?{pairs}" if pairs else ""),
        "service": service,
        "headers": headers,
        "body": body,
        "expires": expires,
        "content_sha256": expires is None,
    }
    signed, expected = (sign(pair, **case) for pair in PAIRS)
    arguments = signed.arguments() | {"surrogate": SURROGATE_STS, "real": REAL_STS, "now": NOW}
    # Dots at the end of a path are the one thing here that servers read in two ways.
    assume(service == "s3" or not segments or segments[-1] not in (".", ".."))
    result = resign(**arguments, body=body)
    assert result.headers == expected.headers
    assert result.target == expected.target


HEADER = sign(SURROGATE_STS, "PUT", "https://b.s3.amazonaws.com/a?b=c", service="s3", region="us-east-1")
QUERY_FORM = sign(SURROGATE_STS, "GET", "https://b.s3.amazonaws.com/a", service="s3", expires=60)


def outcome(signed):
    """What is said when it is refused, or the result."""
    try:
        find_key_id(signed.headers, signed.target)
        return "", resigned(signed, SURROGATE_STS, REAL_STS)
    except Refused as refusal:
        return str(refusal), None


@pytest.mark.parametrize("signed", [HEADER, QUERY_FORM], ids=["header", "query"])
@given(data=st.data())
def test_a_damaged_request_is_refused(signed, data):
    """One run of bytes is replaced somewhere: then it does not pass, unless it says the same."""
    parts = [signed.target, *(part for header in signed.headers for part in header)]
    index = data.draw(st.integers(0, len(parts) - 1))
    start = data.draw(st.integers(0, len(parts[index])))
    end = data.draw(st.integers(start, min(start + 4, len(parts[index]))))
    parts[index] = parts[index][:start] + data.draw(st.binary(max_size=4)) + parts[index][end:]
    headers = list(zip(parts[1::2], parts[2::2], strict=True))
    damaged = Signed(signed.method, signed.host, parts[0], headers)
    said, result = outcome(damaged)
    assert not any(secret in said for pair in PAIRS for secret in (pair.secret, pair.session_token))
    if (
        result is None or result.body.kind == "needs-body"
    ):  # another service: its body would be the next to see
        return
    original = resigned(signed, SURROGATE_STS, REAL_STS)
    signatures = [header_of(same, "authorization") or same.target[-64:] for same in (result, original)]
    assert signatures[0] == signatures[1]


@given(
    st.binary(max_size=60), st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=3)
)
def test_anything_at_all(target, headers):
    for extra in ([], [(b"authorization", b"AWS4-HMAC-SHA256 " + target)]):
        try:
            find_key_id([*headers, *extra], b"/?X-Amz-Credential=" + target)
            resigned(Signed("GET", "b", b"/?X-Amz-Credential=" + target, [*headers, *extra]))
        except Refused:
            pass

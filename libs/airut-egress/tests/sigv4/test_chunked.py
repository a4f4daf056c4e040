"""Bodies in signed chunks: verified with the surrogate's chain and signed with the real one, in any splits."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.sigv4 import MAX_SIGNED_CHUNK, KeyPair, Refused
from airut_egress.sigv4.chunked import MAX_CHUNK_LINE, MAX_TRAILERS

from .chunk_chain import chain, signature_of, start
from .signing import REAL, SURROGATE, Signed, header_of, resigned

PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILERS = {"x-amz-checksum-crc32c": "sOO8/Q=="}


CHUNKS = [b"a" * 300, bytes(range(256)), b"\r\n0;chunk-signature=\r\n"]
TOTAL = sum(map(len, CHUNKS))


def both(trailers=None, chunks=CHUNKS):
    """A resigner, what the surrogate sends and what the real key would send."""
    kind = PAYLOAD if trailers is None else PAYLOAD + "-TRAILER"
    total = sum(map(len, chunks))
    theirs, ours = (start(pair, kind, total, trailers or ()) for pair in (SURROGATE, REAL))
    result = resigned(theirs)
    assert header_of(result, "authorization") == ours.get("authorization")
    assert result.body.kind == "chunked"
    sent, _ = chain(SURROGATE, signature_of(theirs), chunks, trailers)
    expected, _ = chain(REAL, signature_of(ours), chunks, trailers)
    return result.body.chunks, sent, expected


@pytest.mark.parametrize("trailers", [None, TRAILERS])
def test_same_bytes_as_the_real_key_makes_split_at_every_byte(trailers):
    _, sent, expected = both(trailers)
    for at in range(len(sent) + 1):
        chunks, _, _ = both(trailers)
        assert chunks.feed(sent[:at]) + chunks.feed(sent[at:]) == expected
        chunks.finish()


@pytest.mark.parametrize("trailers", [None, TRAILERS])
def test_byte_by_byte_and_all_at_once(trailers):
    chunks, sent, expected = both(trailers)
    assert b"".join(chunks.feed(sent[at : at + 1]) for at in range(len(sent))) == expected
    chunks.finish()
    chunks, sent, expected = both(trailers)
    assert chunks.feed(sent) == expected
    chunks.finish()


def test_an_empty_object():
    for trailers in (None, TRAILERS):
        chunks, sent, expected = both(trailers, chunks=[])
        assert chunks.feed(sent) == expected
        chunks.finish()


def test_trailers_of_clients_that_write_a_bare_line_feed():
    chunks, sent, expected = both(TRAILERS)
    old, new = b"sOO8/Q==\r\n", b"sOO8/Q==\n\r\n"
    assert chunks.feed(sent.replace(old, new)) == expected.replace(old, new)
    chunks.finish()


@pytest.mark.parametrize("trailers", [None, TRAILERS])
def test_any_changed_byte_is_refused_and_nothing_of_its_chunk_is_passed(trailers):
    _, sent, expected = both(trailers)
    for at in range(0, len(sent), 3):
        chunks, _, _ = both(trailers)
        made = b""
        try:
            changed = sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]
            for byte in range(len(changed)):
                made += chunks.feed(changed[byte : byte + 1])
            chunks.finish()
        except Refused:
            assert expected.startswith(made)
        else:
            # Only the case of a name may differ: it is not part of what is signed.
            assert made.lower() == expected.lower()


def test_chunks_out_of_order_left_out_or_replayed_are_refused():
    _, sent, _ = both()
    first = sent[: sent.index(b"\r\n") + 2 + 300 + 2]
    for body in (first + first, sent[len(first) :], first + sent[sent.rindex(b"\r\n0;") + 2 :]):
        with pytest.raises(Refused):
            both()[0].feed(body)


def test_after_a_refusal_nothing_is_taken():
    chunks, sent, _ = both()
    with pytest.raises(Refused):
        chunks.feed(b"zz\r\n")
    with pytest.raises(Refused):
        chunks.feed(sent)
    with pytest.raises(Refused):
        chunks.finish()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"x" * MAX_CHUNK_LINE, "too long"),
        (b"12c\r\n", "malformed"),
        (b"-1;chunk-signature=00\r\n", "malformed"),
        (b"12c;chunk-signature=" + b"0" * 63 + b"\r\n" + b"a" * 300, "match"),
        (b"12c;chunk-signature=" + b"0" * 64 + b"\r\n" + b"a" * 300, "match"),
        (b"fffffff;chunk-signature=" + b"0" * 64 + b"\r\n", "not as long"),
        (b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n", "not as long"),
    ],
)
def test_malformed_framing(body, reason):
    with pytest.raises(Refused, match=reason):
        both()[0].feed(body)


def test_more_after_the_end_and_less():
    chunks, sent, _ = both()
    with pytest.raises(Refused, match="goes on"):
        chunks.feed(sent + b"x")
    chunks, sent, _ = both()
    chunks.feed(sent[:-1])
    with pytest.raises(Refused, match="ends before"):
        chunks.finish()


def test_a_large_signed_chunk_is_refused_before_it_is_held():
    theirs = start(SURROGATE, PAYLOAD, MAX_SIGNED_CHUNK + 1)
    chunks = resigned(theirs).body.chunks
    with pytest.raises(Refused, match="1 MiB"):
        chunks.feed(f"{MAX_SIGNED_CHUNK + 1:x};chunk-signature={'0' * 64}\r\n".encode())
    largest, sent, expected = both(chunks=[b"z" * MAX_SIGNED_CHUNK])
    assert largest.feed(sent) == expected


def unsigned(total=TOTAL, names=("x-amz-checksum-crc32",)):
    result = resigned(start(SURROGATE, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", total, names))
    return result.body.chunks


UNSIGNED = b"12c\r\n" + b"a" * 300 + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


def test_unsigned_chunks_stay_as_they_are():
    for at in range(len(UNSIGNED) + 1):
        chunks = unsigned(300)
        assert chunks.feed(UNSIGNED[:at]) + chunks.feed(UNSIGNED[at:]) == UNSIGNED
        chunks.finish()


def test_unsigned_data_is_passed_on_as_it_comes():
    chunks = unsigned(2**32 - 1)
    assert chunks.feed(b"ffffffff\r\n" + b"a" * 1000) == b"ffffffff\r\n" + b"a" * 1000
    assert not chunks._buffer


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"crc32:", b"sha1:", "not named"),
        (b"x-amz-checksum-crc32:AAAAAA==\r\n", b"", "missing"),
        (b"x-amz-checksum-crc32:AAAAAA==\r\n", b"x-amz-checksum-crc32:AAAAAA==\r\n" * 2, "repeated"),
        (b"AAAAAA==", b"A" * MAX_TRAILERS, "too long"),
        (b"12c\r\n", b"12c;chunk-signature=" + b"0" * 64 + b"\r\n", "malformed"),
        (b"crc32:", b"crc32 ", "malformed"),
        (b"\r\n0\r\n", b"xx0\r\n", "line break"),
    ],
)
def test_malformed_unsigned_chunks(old, new, reason):
    with pytest.raises(Refused, match=reason):
        unsigned(300).feed(UNSIGNED.replace(old, new))


@pytest.mark.parametrize("names", [(), ("x-amz-acl",), ("x-amz-checksum-a", "x-amz-checksum-A")])
def test_what_may_be_a_trailer(names):
    with pytest.raises(Refused, match="x-amz-trailer"):
        unsigned(300, names)


def test_a_length_is_needed():
    for length in ("x", "-1", "9" * 20):
        with pytest.raises(Refused, match="decoded-content-length"):
            resigned(start(SURROGATE, PAYLOAD, 0, more={"x-amz-decoded-content-length": length}))


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"\r\n", b"\n", b"0", b"12c", b";chunk-signature=", b"0" * 64, b"x-amz-checksum-crc32c:", b"*",
             b"x-amz-trailer-signature:", b"a" * 300]
        ),
    ),
    max_size=20,
)  # fmt: skip
SIGNED_BODY = both(TRAILERS)[1:]


def decoded(body: bytes) -> bytes:
    """The data of the chunks, up to the last one or to where the body ends."""
    data = b""
    while b"\r\n" in body:
        line, _, body = body.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        data, body = data + body[:size], body[size + 2 :]
    return data


@given(PIECES, st.integers(0, len(SIGNED_BODY[0])), st.integers(0, len(SIGNED_BODY[0])))
def test_nothing_unverified_is_ever_passed(pieces, head, tail):
    sent, _ = SIGNED_BODY
    chunks = both(TRAILERS)[0]
    made = b""
    try:
        for piece in (sent[:head], *pieces, sent[tail:]):
            made += chunks.feed(piece)
        chunks.finish()
    except Refused:
        assert b"".join(CHUNKS).startswith(decoded(made))
    else:
        assert decoded(made) == b"".join(CHUNKS)
        assert made.count(b"sOO8/Q==") == 1


@given(PIECES)
def test_unsigned_chunks_never_raise_anything_else(pieces):
    chunks = unsigned(300)
    made = b""
    try:
        for piece in pieces:
            made += chunks.feed(piece)
        chunks.finish()
    except Refused:
        assert b"".join(pieces).startswith(made)
    else:
        assert made == b"".join(pieces)


EXAMPLE = KeyPair("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
PUBLISHED = [
    (
        {"content-length": "66824", "x-amz-content-sha256": PAYLOAD},
        None,
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
    ),
    (
        {"x-amz-content-sha256": PAYLOAD + "-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32c"},
        TRAILERS,
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
        ],
    ),
]


@pytest.mark.parametrize(("more", "trailers", "seed", "signatures"), PUBLISHED)
def test_the_examples_of_the_s3_api_reference(more, trailers, seed, signatures):
    headers = {
        "host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
    } | more
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={EXAMPLE.access_key_id}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={';'.join(sorted(headers))},Signature={seed}"
    )
    headers["authorization"] = authorization
    wire = [(name.encode(), value.encode()) for name, value in headers.items()]
    signed = Signed("PUT", "s3.amazonaws.com", b"/examplebucket/chunkObject.txt", wire)
    chunks = [b"a" * 65536, b"a" * 1024]
    body, made = chain(EXAMPLE, seed, chunks, trailers, date="20130524", time="000000", region="us-east-1")
    assert made == signatures
    result = resigned(signed, EXAMPLE, EXAMPLE, now=datetime(2013, 5, 24, tzinfo=UTC))
    assert result.body.chunks.feed(body) == body
    result.body.chunks.finish()

"""Field notes 24: no answer carries a real credential back, in whatever form, coding or pieces it comes."""

import base64
import contextlib
import gzip
import html
import re
import urllib.parse
import zlib
from functools import partial

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.scrub import AnswerScrubber, Undecodable, acceptable_codings, needles_of
from airut_egress.scrub.codings import MAX_DECODED_BYTES
from airut_egress.swap import Swap
from airut_egress.testing.clients import client, first_answer
from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World, bearer_credential

REAL = b"sk-ant-real0123456789abcdefREAL"
FAKE = b"sk-ant-fake9876543210fedcbaFAKE"
ODD_REAL, ODD_FAKE = b'Pa/ss+w"or\\d&12345678', b'Qb/tt+x"ps\\e&87654321'
BOTH, BOTH_FAKE = ODD_REAL + ODD_REAL, ODD_FAKE + ODD_FAKE
NEEDLES = needles_of([Swap(FAKE, REAL)])
ODD = needles_of([Swap(ODD_FAKE, ODD_REAL)])


def scrub(pieces: list[bytes], coding: str = "", needles=NEEDLES) -> bytes:
    scrubber = AnswerScrubber(needles, coding)
    return b"".join(part for piece in [*pieces, b""] for part in scrubber(piece))


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_every_split() -> None:
    text = b"before " + REAL + b" between " + REAL[:9] + REAL + b" sk-ant-rea"
    for at in range(len(text) + 1):
        assert scrub([part for part in (text[:at], text[at:]) if part]) == text.replace(REAL, FAKE)
    assert scrub(pieces_of(text, 1)) == text.replace(REAL, FAKE)


def test_what_cannot_begin_a_credential_is_not_held() -> None:
    """A stream of events must not wait for its next piece."""
    scrubber = AnswerScrubber(NEEDLES, "")
    assert scrubber(b'data: {"text":"hello"}\n\n') == [b'data: {"text":"hello"}\n\n']
    assert scrubber(b"sk-ant-re") == []
    assert scrubber(b"d") == [b"sk-ant-red"]


@pytest.mark.parametrize(
    "form",
    [
        lambda value: value,
        lambda value: urllib.parse.quote(value, safe="").encode(),
        lambda value: urllib.parse.quote_plus(value).encode(),
        lambda value: re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(value, safe="")).encode(),
        lambda value: html.escape(value.decode()).encode(),
        lambda value: value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"/", b"\\/"),
        lambda value: value.hex().encode(),
        lambda value: value.hex().upper().encode(),
    ],
)
def test_forms(form) -> None:
    assert scrub([b"<" + form(ODD_REAL) + b">"], needles=ODD) == b"<" + form(ODD_FAKE) + b">"


@pytest.mark.parametrize("before", [b"", b"u", b"me", b"x-access-token:", b"four", b"fives"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_base64_at_every_offset(before: bytes, encode, size: int) -> None:
    """The digits that a value shares with its neighbours as well: what comes out can be sent back."""
    for after in (b"", b":x", b"!!", b":\xff\xfe"):
        for real, fake, needles in ((REAL, FAKE, NEEDLES), (ODD_REAL, ODD_FAKE, ODD), (BOTH, BOTH_FAKE, ODD)):
            text = b'"' + encode(before + real + after) + b'"'
            expected = b'"' + encode(before + fake + after) + b'"'
            assert scrub(pieces_of(text, size), needles=needles) == expected


CODED = {
    "gzip": gzip.compress,
    "x-gzip": lambda data: gzip.compress(data[:10]) + gzip.compress(data[10:]),
    "deflate": zlib.compress,
    "Deflate": lambda data: zlib.compress(data)[2:-4],
    "br": partial(brotli.compress, quality=1),
    "zstd": zstandard.ZstdCompressor(level=3).compress,
    " ZSTD ": lambda data: b"".join(zstandard.compress(part) for part in (data[:7], data[7:])),
    "gzip, identity, br": lambda data: brotli.compress(gzip.compress(data)),
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_codings(coding: str, size: int) -> None:
    text = b"a line of text\n" * 300 + REAL + b"and more" * 50
    assert scrub(pieces_of(CODED[coding](text), size), coding) == text.replace(REAL, FAKE)


@pytest.mark.parametrize("coding", CODED)
def test_a_body_that_ends_early_or_is_something_else_is_cut(coding: str) -> None:
    whole = CODED[coding](bytes(range(256)) * 40)
    for bad in ([whole[:-5]], [b"\x00\x01 not compressed at all " * 5]):
        with pytest.raises(Undecodable):
            scrub(bad, coding)
    assert scrub([], coding) == b""


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip, gzip", "aes128gcm", "gzip;x", "g zip"])
def test_an_unknown_coding_is_refused(coding: str) -> None:
    with pytest.raises(Undecodable):
        AnswerScrubber(NEEDLES, coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity, br"])
def test_row_35_a_bomb_is_cut(coding: str) -> None:
    with pytest.raises(Undecodable, match="grows"):
        scrub([CODED[coding](bytes(4 * MAX_DECODED_BYTES))], coding)


@given(
    st.lists(
        st.sampled_from([ODD_REAL, ODD_REAL[:5], ODD_REAL[5:], b"P", b"x", ODD_REAL.hex().encode(), b"\xff"]),
        max_size=12,
    ),
    st.sampled_from([bytes, base64.b64encode]),
    st.integers(1, 40),
)
def test_pieces_never_matter(parts: list[bytes], encode, size: int) -> None:
    text = encode(b"".join(parts))
    whole = scrub([text] if text else [], needles=ODD)
    assert scrub(pieces_of(text, size), needles=ODD) == whole
    assert ODD_REAL not in whole


@given(st.sampled_from(["gzip", "deflate", "br", "zstd"]), st.binary(max_size=300))
def test_any_bytes_have_an_answer(coding: str, data: bytes) -> None:
    with contextlib.suppress(Undecodable):
        scrub([data], coding)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("gzip, br;q=0.9, sdch, *", "gzip, br;q=0.9"),
        ("compress", "identity"),
        (None, "identity"),
        ("zstd\xff", "zstd?"),
    ],
)
def test_only_known_codings_are_asked_for(asked: str | None, sent: str) -> None:
    headers = [] if asked is None else [(b"Accept-Encoding", asked.encode("latin-1"))]
    assert acceptable_codings([(b"x", b"y"), *headers]) == [(b"x", b"y"), (b"accept-encoding", sent.encode())]


# -- on the wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd"])
async def test_row_24_a_reflected_credential_comes_back_as_its_surrogate(
    world: World, origin: Origin, coding: str, http2: bool
) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    surrogate = sandbox.environment["API_KEY"]

    def reflect(seen) -> Answer:
        said = seen.header("authorization") or ""
        body = f"you said {said}; {base64.b64encode(said.encode()).decode()}".encode()
        headers = [("x-echo", said), ("content-encoding", coding)] if coding else [("x-echo", said)]
        return Answer(headers=headers, body=CODED[coding](body) if coding else body)

    origin.respond = reflect
    async with client(sandbox, http2=http2) as http:
        answer = await http.get(
            "https://api.example.test/",
            headers={"Authorization": f"Bearer {surrogate}", "Accept-Encoding": "gzip, br, zstd, x"},
        )
    assert origin.seen[0].header("authorization") == f"Bearer {REAL.decode()}"
    assert answer.headers["x-echo"] == f"Bearer {surrogate}"
    assert f"you said Bearer {surrogate}" in answer.text
    assert base64.b64encode(REAL)[8:20] not in answer.content
    event = await world.recorder.wait(lambda event: event.kind == "request")
    assert event.tags == ("scrubbed",)
    assert event.decision == "allow"


async def test_row_24_what_cannot_be_read_is_cut(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    origin.respond = lambda _: Answer(headers=[("content-encoding", "secret-squirrel")], body=b"x" * 100)
    answer = await first_answer(sandbox, b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
    assert b"x" * 100 not in answer.body
    event = await world.recorder.wait(lambda event: event.kind == "request")
    assert (event.decision, event.reason) == ("deny", "coding")


async def test_hosts_without_credentials_keep_their_codings(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    origin.respond = lambda seen: Answer(headers=[("content-encoding", "gzip")], body=gzip.compress(b"hello"))
    async with client(sandbox) as http:
        answer = await http.get("https://one.allowed.test/", headers={"Accept-Encoding": "gzip, odd"})
    assert answer.text == "hello"
    assert answer.headers["content-encoding"] == "gzip"
    assert origin.seen[0].header("accept-encoding") == "gzip, odd"


async def test_the_head_of_a_coded_body_stays(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    origin.respond = lambda seen: Answer(headers=[("content-encoding", "gzip")], body=b"x" * 5)
    async with client(sandbox) as http:
        answer = await http.head("https://api.example.test/")
        assert answer.headers["content-encoding"] == "gzip"

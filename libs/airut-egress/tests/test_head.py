"""Field notes 15: what the strict reader of heads passes, h11 reads in the same way."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.interception.head import MAX_HEAD_BYTES, head_problem

GOOD = b"GET /a?b HTTP/1.1\r\nHost: x.test\r\nX: a b\tc\r\nEmpty:\r\nObs: \xe9\r\n\r\n"


def test_a_good_head_passes_however_it_arrives() -> None:
    for end in range(len(GOOD) + 1):
        assert head_problem(GOOD[:end]) is None, GOOD[:end]
    assert head_problem(GOOD + b"\x00\n\r body of any kind") is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ((b"\r\nX", b"\nX"), "CRLF"),
        ((b"\r\nX", b"\rX"), "CRLF"),
        ((b"Obs: \xe9\r\n", b"Obs: \xe9\r\r\n"), "CRLF"),
        ((b"X: a", b"X: \x00a"), "control"),
        ((b"X: a", b" X: a"), "folded"),
        ((b"X: a", b"\tX: a"), "folded"),
        ((b"X: a", b"X : a"), "header name"),
        ((b"X: a", b"X a"), "header name"),
        ((b"X: a", b": a"), "header name"),
        ((b"X:", b"Host:"), "two host"),
        ((b"X: a b\tc", b"Content-Length: 1\r\ncontent-length: 1"), "two content-length"),
        ((b"X: a b\tc", b"Content-Length: 1\r\ntransfer-encoding: chunked"), "both"),
        ((b"X: a b\tc", b"Transfer-Encoding: gzip, chunked"), "coding"),
        ((b"X: a b\tc", b"Transfer-Encoding: \x0bchunked"), "control"),
        ((b"/1.1", b"/2.0"), "version"),
        ((b"/1.1", b"/1.10"), "version"),
        ((b" HTTP/1.1", b""), "not HTTP"),
        ((b" HTTP", b"  HTTP"), "not HTTP"),
        ((b"GET /", b"GET\t/"), "not HTTP"),
        ((b"GET /", b" GET /"), "not HTTP"),
        ((b"GET", b"G\xe9T"), "not HTTP"),
        ((b"GET", b""), "not HTTP"),
        ((b"/a?b", b"/a b"), "not HTTP"),
    ],
)
def test_a_broken_head_is_named(change: tuple[bytes, bytes], word: str) -> None:
    broken = GOOD.replace(*change, 1)
    assert broken != GOOD
    assert word in (head_problem(broken) or "")


def test_a_head_may_not_be_larger_than_the_limit() -> None:
    start = b"GET / HTTP/1.1\r\nX: "
    assert head_problem(start + b"a" * (MAX_HEAD_BYTES - len(start))) is None
    assert "larger" in (head_problem(start + b"a" * MAX_HEAD_BYTES) or "")
    assert "more than" in (head_problem(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300 + b"\r\n") or "")


def test_what_is_not_http_is_known_by_its_first_line() -> None:
    assert head_problem(b"SSH-2.0-OpenSSH_9.9\r\n")
    assert head_problem(b"\x16\x03\x01")
    assert head_problem(b"PRI * HTTP/2.0\r\n")


PIECES = st.sampled_from(
    [
        b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host: x", b": ", b" ", b"\t", b"\x00", b"a", b"\xe9",
        b"Content-Length: 3", b"Transfer-Encoding: chunked", b"\r\n\r\n", b"HTTP/1.0", b"X:y", b"0", b"\x0b", b"\x85",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12))
def test_what_passes_is_one_request_to_another_parser_too(pieces: list[bytes]) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: x.test\r\n" + b"".join(pieces) + b"\r\n\r\n"
    if head_problem(raw) is not None:
        return
    head = raw[: raw.index(b"\r\n\r\n") + 4]
    other = h11.Connection(h11.SERVER)
    other.receive_data(head)
    try:
        event = other.next_event()
    except h11.RemoteProtocolError:
        return  # stricter than we are, as about lengths, which mitmproxy judges
    assert isinstance(event, h11.Request)
    lines = head.split(b"\r\n")[1:-2]
    ours = [
        (name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)
    ]
    assert sorted(ours) == sorted((bytes(name), bytes(value)) for name, value in event.headers)

"""Paths that two servers could read differently are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.paths import decode_path, split_target, without_parameters

AMBIGUOUS = [
    b"",
    b"*",
    b"api/x",
    b"http://example.com/api",
    b"/a/../b",
    b"/a/..",
    b"/a/.",
    b"/./a",
    b"/..",
    b"/a/..;/b",
    b"/a/..;x=1/b",
    b"/a/.;/b",
    b"/a/;.",
    b"/a;/../b",
    b"/a/..%3bx/b",
    b"/a//b",
    b"//a",
    b"//",
    b"/a/;x/b",
    b"/a/;",
    b"/a%2fb",
    b"/a%2Fb",
    b"/@scope%2fname",
    b"/a/%2e%2e/b",
    b"/a/.%2E/b",
    b"/file%2ename",
    b"/a%5cb",
    b"/a%5Cb",
    b"/a\\b",
    b"/a/..\\b",
    b"/a%252e%252e/b",
    b"/a/%252fb",
    b"/%25%32%66",
    b"/a%00b",
    b"/a\x00b",
    b"/a%0ab",
    b"/a%0d%0ab",
    b"/a%7f",
    b"/a b",
    b"/a%",
    b"/a%2",
    b"/a%zz",
    b"/a%u002e",
    b"/%ff",
    b"/\xff",
    b"/%c0%ae%c0%ae/b",
    b"/%ed%a0%80",
    b"/a#b",
]


@pytest.mark.parametrize("raw", AMBIGUOUS)
def test_ambiguous_paths_are_named(raw: bytes) -> None:
    """Row 13."""
    assert decode_path(raw).ambiguous


@pytest.mark.parametrize("raw", [b"/a/..?x", b"/%252e%252e?x=/allowed", b"/a//b?q", b"/a%2fb?"])
def test_a_query_hides_nothing(raw: bytes) -> None:
    """Row 58: a trailing `..?x` is still a dot segment."""
    assert decode_path(raw).ambiguous


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"/", "/"),
        (b"/api", "/api"),
        (b"/api/", "/api/"),
        (b"/api/v1/x?y=/../z", "/api/v1/x"),
        (b"/a%20b", "/a b"),
        (b"/a+b", "/a+b"),
        (b"/100%25", "/100%"),
        (b"/what%3f", "/what?"),
        (b"/c%23", "/c#"),
        (b"/%C3%BC", "/ü"),
        ("/ü".encode(), "/ü"),
        (b"/@scope/name", "/@scope/name"),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/...", "/..."),
        (b"/a..b/c.tar.gz", "/a..b/c.tar.gz"),
        (b"/a;v=1/b", "/a;v=1/b"),
        (b"/x?a=%zz%00//..", "/x"),
    ],
)
def test_plain_paths_are_decoded_once(raw: bytes, text: str) -> None:
    path = decode_path(raw)
    assert (path.text, path.ambiguous) == (text, None)


def test_targets_split_at_the_first_question_mark() -> None:
    assert split_target(b"/a?b?c") == (b"/a", b"b?c")
    assert split_target(b"/a?") == (b"/a", b"")
    assert split_target(b"/a") == (b"/a", None)


def test_parameters_are_cut_from_each_segment() -> None:
    assert without_parameters("/a;x/b;y;z/c") == "/a/b/c"
    assert without_parameters("/a/b") == "/a/b"


@given(st.binary())
def test_any_bytes_are_judged(raw: bytes) -> None:
    decode_path(raw)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_what_is_not_ambiguous_has_the_segments_it_shows(segments: list[str]) -> None:
    """Row 13: an unambiguous path, read naively or with parameters cut, stays beneath its own segments."""
    path = decode_path("/".join(["", *segments]).encode())
    if path.ambiguous is None:
        for text in (path.text, without_parameters(path.text)):
            assert not {".", ".."} & set(text.split("/"))
            assert "//" not in text

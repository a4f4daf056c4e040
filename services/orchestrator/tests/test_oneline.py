"""Hostile text on one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_orchestrator.oneline import one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("make check", "make check"),
        ("a\n\tb\r\nc", "a b c"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://x.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice control\x1b\\x", "x"),
        ("\x1b]0;never ends", ""),
        ("\x1bcreset", "reset"),
        ("\x00\x08\x7f\x85x", "x"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("\U000e0041hidden", "hidden"),
        ("\ud800x", "x"),
        ("grüße 漢字", "grüße 漢字"),
        ("x" * 21, "x" * 19 + "…"),
        ("x" * 20, "x" * 20),
        (" " * 10_000 + "x", "…"),
    ],
)
def test_what_is_left(text: str, expected: str) -> None:
    assert one_line(text, 20) == expected


@given(st.text(st.characters(codec=None), max_size=300))
def test_nothing_that_steers_is_ever_left(text: str) -> None:
    line = one_line(text, 50)
    assert len(line) <= 50
    assert line.isprintable()
    line.encode()

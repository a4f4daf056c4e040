"""RFC 3676."""

import pytest

from airut_gateway_email.content.flowed import unflow


@pytest.mark.parametrize(
    ("text", "delete_space", "expected"),
    [
        ("one \ntwo\nthree", False, "one two\nthree"),
        ("one \r\ntwo", False, "one two"),
        ("日本 \n語", True, "日本語"),
        (" >not quoted\n From here", False, ">not quoted\nFrom here"),
        ("> quoted \n> on\nmine", False, "> quoted on\nmine"),
        ("> a \n>> b \n> c", False, "> a \n>> b \n> c"),
        ("bye \n-- \nAda", False, "bye \n-- \nAda"),
        ("-- \nAda", True, "-- \nAda"),
        ("    code", False, "   code"),
        ("", False, ""),
    ],
)
def test_paragraphs(text: str, delete_space: bool, expected: str):
    assert unflow(text, delete_space=delete_space) == expected


def test_many_lines_of_one_paragraph_take_no_long_time():
    assert len(unflow("word \n" * 200_000, delete_space=False)) == 1_000_000

"""Field-notes row 43: names that strangers chose."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_sandbox.names import UniqueNames, shown, stored


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("report.txt", "report.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a/b.txt", "a_b.txt"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("", "file"),
        ("...", "file"),
        ("a\nb\x1b[31m.txt", "a_b_[31m.txt"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("zero\u200bwidth", "zero_width"),
        ("e\u0301.txt", "é.txt"),
        (os.fsdecode(b"latin-\xe9.txt"), "latin-\ufffd.txt"),
        ("C:\\temp\\x.txt", "C__temp_x.txt"),
        ("ends in dot. ", "ends in dot"),
    ],
)
def test_stored(raw: str, expected: str) -> None:
    assert stored(raw) == expected


def test_a_long_name_keeps_its_suffix() -> None:
    name = stored("ü" * 500 + ".tar")
    assert name.endswith(".tar")
    assert len(name.encode()) <= 180


def test_row_43_case_and_form_collisions_get_numbers() -> None:
    unique = UniqueNames("manifest.json")
    raw = ["A.txt", "a.TXT", "e\u0301", "\xe9", "Manifest.json", "ﬁle", "file", "Straße", "STRASSE"]
    taken = [unique.take(name) for name in raw]
    assert taken == [
        "A.txt", "a (2).TXT", "é", "é (2)", "Manifest (2).json", "ﬁle", "file (2)", "Straße", "STRASSE (2)",
    ]  # fmt: skip


@given(st.text(max_size=300))
def test_whatever_the_name_it_is_one_harmless_line(raw: str) -> None:
    for text in (stored(raw), shown(raw)):
        assert len(text) <= 200
        assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)
        text.encode()  # no lone surrogates
    name = stored(raw)
    assert name
    assert "/" not in name
    assert not name.startswith((".", "-"))
    assert len(name.encode()) <= 180


@given(st.lists(st.text(max_size=20), max_size=30))
def test_unique_names_never_collide(raw: list[str]) -> None:
    unique = UniqueNames()
    taken = [unique.take(name) for name in raw]
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in taken}) == len(raw)

"""Mails that different readers could read differently are refused, not repaired."""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_mail_auth.message import MAX_FIELDS, MAX_HEADER_BYTES, BadMessage, InMemory, parse_message

GOOD = b"From: ada@lovelace.example\r\nSubject: a\r\n folded\tone\r\n\r\nbody\r\n"


def test_fields_are_unfolded_and_the_body_is_kept():
    mail = parse_message(GOOD)
    assert mail.first("subject") == "a folded\tone"
    assert b"".join(mail.body()) == b"body\r\n"
    assert mail.body_sha256 == hashlib.sha256(b"body\r\n").hexdigest()
    assert mail.first("missing") is None


def test_headers_may_be_in_utf_8():
    mail = parse_message("From: jörg@bücher.example\r\nSubject: Grüße 例\r\n\r\n".encode())
    assert (mail.first("from"), mail.first("subject")) == ("jörg@bücher.example", "Grüße 例")


def test_a_mail_without_body_is_a_mail():
    assert list(parse_message(b"From: a@b.example\r\n").body()) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"From: a@b.example\n\nbody", "bare CR or LF"),
        (GOOD + b"end\n.\r\n", "bare CR or LF"),
        (GOOD + b"end\r.\r\n", "bare CR or LF"),
        (GOOD + b"\0", "NUL"),
        (b"From: a@b\0.example\r\n\r\n", "NUL"),
        (b"From: a@b.example\r\nSubject: \xe4\r\n\r\n", "8-bit"),
        (b"From: a@b.example\r\nSubject: \xc0\xbc\r\n\r\n", "8-bit"),  # an overlong <
        (b"From: a@b.example\r\nSubject: \xed\xa0\x80\r\n\r\n", "8-bit"),  # half a surrogate
        (b"From: a@b.example\r\nSubject: \xc2\x85x\r\n\r\n", "control"),  # a line end to some
        (b"From: a@b.example\r\nSubject: \xe2\x80\xa8x\r\n\r\n", "control"),
        (b"\xef\xbb\xbfFrom: a@b.example\r\n\r\n", "control"),
        (b"Fr\xc3\xb6m: a@b.example\r\n\r\n", "no field"),
        (b"From: a@b.example\r\nSubject: \x1b[2J\r\n\r\n", "control"),
        (b"\r\nFrom: a@b.example\r\n", "no header"),
        (b" From: a@b.example\r\n\r\n", "continuation"),
        (b"From: a@b.example\r\nnonsense\r\n\r\n", "no field"),
        (b"From: a@b.example\r\nSub ject: x\r\n\r\n", "no field"),
        (b"From : a@b.example\r\n\r\n", "no field"),
        (b"Subject: x\r\n\r\n", "no From"),
        (b"From: a@b.example\r\nfrom: c@d.example\r\n\r\n", "more than one From"),
        (b"From: a@b.example\r\nSubject: x\r\nSubject: y\r\n\r\n", "more than one Subject"),
        (b"Content-Type: text/plain\r\nFrom: a@b.example\r\nContent-Type: text/html\r\n\r\n", "Content-Type"),
        (b"From: a@b.example\r\n" + b"X: y\r\n" * MAX_FIELDS + b"\r\n", "header fields"),
        (b"From: a@b.example\r\nX: " + b"y" * MAX_HEADER_BYTES + b"\r\n\r\n", "KiB"),
        (b"", "no From"),
    ],
)
def test_row_50_and_smuggling_ambiguous_mails_are_refused(data: bytes, why: str):
    with pytest.raises(BadMessage, match=why):
        parse_message(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_mail_or_a_refusal(data: bytes):
    try:
        mail = parse_message(b"From: a@b.example\r\n" + data)
    except BadMessage as refusal:
        answer = str(refusal)
    else:
        answer = mail.first("from") or ""
        assert all("\x00" not in field.value and "\n" not in field.value for field in mail.fields)
    assert "\n" not in answer


@dataclass(frozen=True)
class _Cut:
    """A mail that comes in small pieces."""

    data: bytes
    size: int

    def pieces(self, begin: int = 0) -> Generator[bytes]:
        for start in range(begin, len(self.data), self.size):
            yield self.data[start : start + self.size]


@given(
    st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b"a: b", b" c", b"\r\n\r\n"]), max_size=8),
    st.integers(1, 5),
)
def test_a_mail_in_pieces_is_the_mail_as_a_whole(ends: list[bytes], size: int):
    data = b"From: a@b.example\r\n" + b"".join(ends)

    def outcome(source: InMemory | _Cut) -> object:
        try:
            mail = parse_message(source)
        except BadMessage as refusal:
            return str(refusal)
        return mail.fields, mail.body_at, mail.body_sha256, b"".join(mail.body())

    assert outcome(_Cut(data, size)) == outcome(InMemory(data))


def test_a_header_as_long_as_may_be_is_found_however_it_is_cut():
    head = b"From: a@b.example\r\nX: "
    head += b"y" * (MAX_HEADER_BYTES - len(head))
    for size in (1000, 65_536, MAX_HEADER_BYTES + 2):
        assert b"".join(parse_message(_Cut(head + b"\r\n\r\nbody\r\n", size)).body()) == b"body\r\n"
        with pytest.raises(BadMessage, match="KiB"):
            parse_message(_Cut(head + b"y\r\n\r\nbody\r\n", size))

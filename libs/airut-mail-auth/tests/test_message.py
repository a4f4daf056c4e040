"""Mails that different readers could read differently are refused, not repaired."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_mail_auth.message import MAX_FIELDS, MAX_HEADER_BYTES, BadMessage, parse_message

GOOD = b"From: ada@lovelace.example\r\nSubject: a\r\n folded\tone\r\n\r\nbody\r\n"


def test_fields_are_unfolded_and_the_body_is_kept():
    mail = parse_message(GOOD)
    assert mail.first("subject") == "a folded\tone"
    assert mail.body == b"body\r\n"
    assert mail.first("missing") is None


def test_a_mail_without_body_is_a_mail():
    assert parse_message(b"From: a@b.example\r\n").body == b""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"From: a@b.example\n\nbody", "bare CR or LF"),
        (GOOD + b"end\n.\r\n", "bare CR or LF"),
        (GOOD + b"end\r.\r\n", "bare CR or LF"),
        (GOOD + b"\0", "NUL"),
        (b"From: a@b\0.example\r\n\r\n", "NUL"),
        (b"From: a@b.example\r\nSubject: \xc3\xa4\r\n\r\n", "8-bit"),
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
    assert answer.isascii()
    assert "\n" not in answer

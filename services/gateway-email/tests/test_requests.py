"""The id of a request: the same for each delivery of a mail, different for different mails."""

from datetime import UTC, datetime

import pytest

from airut_gateway_email import requests
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.requests import request_id
from airut_gateway_email.sender_auth import Proof
from airut_mail_auth.addresses import parse_address
from airut_mail_auth.record import DkimEvidence, Record

ADA = parse_address("ada@lovelace.example")


def _id(data: bytes, *, repo: str = "demo", author=ADA, signed: set[str] | None = None) -> str:
    covered = None if signed is None else frozenset(signed)
    proof = Proof(method="dmarc", domain="lovelace.example", detail="", signed=covered)
    return request_id(repo, author, parse_raw_mail(data), proof)


MAIL = (
    b"From: ada@lovelace.example\r\nMessage-ID: <1@x>\r\nDate: Mon, 1 Jan 2026 00:00:00 +0000\r\n\r\nbody\r\n"
)


def test_row_54_a_redelivery_has_the_same_id():
    again = b"Received: from elsewhere\r\nReceived: once more\r\n" + MAIL
    assert _id(MAIL) == _id(again)
    assert _id(MAIL) == _id(MAIL, signed={"from", "message-id", "date"})
    assert len(_id(MAIL)) == 32
    assert int(_id(MAIL), 16)


def test_different_mails_have_different_ids():
    ids = {
        _id(MAIL),
        _id(MAIL, repo="other"),
        _id(MAIL, author=parse_address("bob@lovelace.example")),
        _id(MAIL.replace(b"<1@x>", b"<2@x>")),
        _id(MAIL + b"more\r\n"),
        _id(MAIL.replace(b"Mon, 1 Jan", b"Tue, 2 Jan")),
    }
    assert len(ids) == 6


@pytest.mark.parametrize("signed", [{"from", "date"}, {"from", "message-id"}])
def test_a_replay_with_another_unsigned_header_has_the_same_id(signed: set[str]):
    """Field notes, section 4: replay of an old signed mail."""
    unsigned, other = (b"<1@x>", b"<2@x>") if "date" in signed else (b"Mon, 1", b"Tue, 2")
    assert _id(MAIL, signed=signed) == _id(MAIL.replace(unsigned, other), signed=signed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Mon, 1 Jan", b"Mon,   1\tJan"),
        (b"Mon, 1 Jan", b"Mon,\r\n 1 Jan"),
        (b"Message-ID: <1@x>", b"Message-ID:\r\n <1@x>  "),
        (b"my body\r\n", b"my \t body\r\n"),
        (b"my body\r\n", b"my body  \r\n"),
        (b"my body\r\n", b"my body\r\n\r\n\r\n"),
    ],
)
def test_a_replay_with_other_white_space_has_the_same_id(old: bytes, new: bytes):
    """RFC 6376 §3.4: relaxed forms leave the signature good, so anybody with a copy could make new tasks of it."""
    mail = MAIL.replace(b"body", b"my body")
    changed = mail.replace(old, new)
    assert changed != mail
    assert _id(changed, signed={"from", "date", "message-id"}) == _id(
        mail, signed={"from", "date", "message-id"}
    )


def test_without_a_covered_date_and_message_id_a_replay_has_the_same_id():
    other = MAIL.replace(b"<1@x>", b"<2@x>")
    assert _id(MAIL, signed={"from", "subject"}) == _id(other, signed={"from", "subject"})


@pytest.mark.parametrize(("signatures", "whole"), [(1, True), (10, False)])
def test_a_record_that_an_author_made_long_is_cut(signatures: int, whole: bool):
    signed = tuple(f"x-{number:04}" for number in range(500))
    signature = DkimEvidence(
        domain="lovelace.example",
        selector="s",
        algorithm="rsa-sha256",
        result="fail",
        detail="",
        signed=signed,
    )
    record = Record(
        verdict="proven",
        rule="dmarc",
        explanation="it is",
        judged_at=datetime.now(UTC),
        dkim=(signature,) * signatures,
    )
    bounded = requests._bounded(record)
    assert (bounded == record) == whole
    assert len(bounded.model_dump_json()) <= requests.MAX_RECORD_BYTES
    assert bounded.explanation.startswith("it is")

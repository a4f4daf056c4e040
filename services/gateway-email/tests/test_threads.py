"""Which conversation a mail continues."""

import re
import time
from datetime import timedelta
from email.header import Header

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airut_gateway_email.content.charsets import decode_words
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import RawMail, parse_raw_mail
from airut_gateway_email.threads import (
    MAX_REFERENCES,
    find_conversation,
    issue_message_id,
    message_ids,
    references_for_answer,
)

C1, C2 = "1" * 32, "2" * 32
OURS = issue_message_id(C1, "a" * 32, "airut.example")
OTHER = issue_message_id(C2, "b" * 32, "airut.example")


def _mail(*headers: str):
    return parse_raw_mail("\r\n".join(["From: a@b.example", *headers, "", ""]).encode())


@pytest.mark.parametrize(
    ("headers", "conversation"),
    [
        ([], None),
        ([f"In-Reply-To: {OURS}"], C1),
        ([f"References: <x@y.example> {OURS} <z@y.example>"], C1),
        ([f"References: {OURS} {OTHER}"], C2),
        ([f"In-Reply-To: {OURS}", f"References: {OTHER}"], C1),
        ([f"Subject: Again [airut:{C1}]"], C1),
        ([f"Subject: [airut:{C1}]", f"References: {OTHER}"], C2),
        ([f"In-Reply-To: <airut.{C1}.x@evil.example>"], None),
        ([f"In-Reply-To: <AIRUT.{C1}.x@airut.example>"], None),
        ([f"In-Reply-To: <airut.{C1}.x@AIRUT.example>"], C1),
        (["In-Reply-To: <airut.../../etc.x@airut.example>"], None),
        ([f"In-Reply-To: <airut.{'c' * 65}.x@airut.example>"], None),
        (["Subject: [airut:] [airut:UPPER]"], None),
        ([f"Subject: {Header(f'Prüfe [airut:{C1}]', 'utf-8').encode()}"], C1),
    ],
)
def test_row_71_a_thread_is_found_by_full_ids_that_we_issued(headers: list[str], conversation: str | None):
    assert find_conversation(_mail(*headers), "airut.example") == conversation


def test_references_grow_by_the_answered_mail():
    parent, chain = references_for_answer(_mail("Message-ID: <3@x>", "References: <1@x> <2@x>"))
    assert (parent, chain) == ("<3@x>", ("<1@x>", "<2@x>", "<3@x>"))
    assert references_for_answer(_mail("Message-ID: <2@x>", "In-Reply-To: <1@x>"))[1] == ("<1@x>", "<2@x>")
    assert references_for_answer(_mail()) == (None, ())


def test_a_long_history_keeps_its_first_and_last_ids():
    mail = _mail("Message-ID: <own@x>", "References: " + " ".join(f"<{n}@x>" for n in range(100)))
    chain = references_for_answer(mail)[1]
    assert len(chain) == MAX_REFERENCES
    assert (chain[0], chain[-1]) == ("<0@x>", "<own@x>")


def test_only_well_formed_ids_count():
    assert message_ids("<a b@x> <ok@x> <<nested@x>> <" + "l" * 300 + "@x>") == ("<ok@x>", "<nested@x>")


SECOND = timedelta(seconds=1)
PIECES = st.sampled_from(
    [OURS, OTHER, OURS[1:], OURS[:-1], f"[airut:{C1}]", f"[airut:{C1}", "[airut:", "<airut.", "airut.", "@", "<", ">", " ", ".",
     ",", "=?utf-8?q?", "=?utf-8?b?W2FpcnV0OmFhXQ==?=", "?=", "airut.example>", "evil.example>", "\r\n ", "\t", "\u2028", "Re: "]
)  # fmt: skip
VALUE = st.one_of(
    st.text(max_size=60), st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=12).map("".join)
)


def _told(parents: str, ancestors: str, subject: str, own: str) -> RawMail | None:
    named = {"In-Reply-To": parents, "References": ancestors, "Subject": subject, "Message-ID": own}
    lines = ["From: a@b.example", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    try:
        return parse_raw_mail("\r\n".join(lines).encode("utf-8", "surrogateescape"))
    except (MailRefused, UnicodeEncodeError):
        return None


@settings(max_examples=400, deadline=SECOND)
@given(VALUE, VALUE, VALUE, VALUE)
@example(f"<airut.{C1}.x@airut.example.evil.example>", "", f"[airut:{C1.upper()}]", "")
def test_no_conversation_is_continued_without_its_id(parents: str, ancestors: str, subject: str, own: str):
    mail = _told(parents, ancestors, subject, own)
    if mail is None:
        return
    conversation = find_conversation(mail, "airut.example")
    ids = f"{mail.first('in-reply-to')} {mail.first('references')}".lower()
    issued = set(re.findall(r"<airut\.([a-z0-9-]{1,64})\.[a-z0-9-]{1,64}@airut\.example>", ids))
    tagged = re.findall(r"\[airut:([a-z0-9-]{1,64})\]", decode_words(mail.first("subject") or ""))
    if conversation is None:
        assert not any(f"<airut.{one}." in f"{parents} {ancestors}" for one in (C1, C2) if one in issued)
    else:
        assert conversation in issued or (conversation in tagged and not issued)


@settings(max_examples=400, deadline=SECOND)
@given(VALUE, VALUE, VALUE, VALUE)
def test_an_answer_refers_to_well_formed_ids_alone(parents: str, ancestors: str, subject: str, own: str):
    mail = _told(parents, ancestors, subject, own)
    if mail is None:
        return
    parent, chain = references_for_answer(mail)
    assert len(chain) == len(set(chain)) <= MAX_REFERENCES
    assert all(re.fullmatch(r"<[!-~]+>", one) and len(one) <= 242 for one in chain)
    assert parent is None or chain[-1] == parent or parent in chain


@pytest.mark.parametrize(
    "piece",
    ["<", "<airut.", OURS, OURS + " ", "[airut:", f"[airut:{'a' * 64}", "=?", "=?utf-8?q?", "=?utf-8?q?a?= ", "=?utf-8?b?YQ==?= ",
     "=?x?q?a?= ", "?=", "\u00e4", "\t", "<a@b> "]
)  # fmt: skip
@pytest.mark.parametrize("name", ["In-Reply-To", "References", "Subject", "Message-ID"])
def test_no_header_takes_long(name: str, piece: str):
    mail = _mail(f"{name}: {piece * (250_000 // len(piece.encode()))}".rstrip())
    begun = time.thread_time()
    find_conversation(mail, "airut.example")
    references_for_answer(mail)
    assert time.thread_time() - begun < 1


def test_a_tag_in_a_long_subject_is_found():
    subject = Header("ä" * 300 + f" [airut:{C1}]", "utf-8", header_name="Subject").encode(linesep="\r\n")
    assert find_conversation(_mail(f"Subject: {subject}"), "airut.example") == C1

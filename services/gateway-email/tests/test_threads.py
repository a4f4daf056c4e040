"""Which conversation a mail continues."""

from email.header import Header

import pytest

from airut_gateway_email.rawmail import parse_raw_mail
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

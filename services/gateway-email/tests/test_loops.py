"""Mail that no person wrote is never answered (row 53)."""

import pytest

from airut_gateway_email.loops import automatic_reason
from airut_gateway_email.rawmail import parse_raw_mail


def _reason(*headers: str, mail_from: str = "ada@lovelace.example", own: bool = False) -> str | None:
    mail = parse_raw_mail("\r\n".join(["From: ada@lovelace.example", *headers, "", ""]).encode())
    return automatic_reason(mail, mail_from=mail_from, own_author=own, hostname="airut.example")


@pytest.mark.parametrize(
    "headers",
    [
        ["Auto-Submitted: auto-replied"],
        ["Auto-Submitted: auto-generated (rejected)"],
        ["auto-submitted: AUTO-NOTIFIED; owner-email=x"],
        ["Precedence: bulk"],
        ["Precedence: List"],
        ["Precedence: junk"],
        ["List-Id: <dev.lovelace.example>"],
        ["List-Unsubscribe: <mailto:x@y.example>"],
        ["X-Auto-Response-Suppress: All"],
        ["X-Loop: yes"],
        ["Content-Type: multipart/report; report-type=delivery-status; boundary=x"],
        ["Return-Path: <>"],
        ["Return-Path: <a@b.example>", "Return-Path: <>"],
        [f"Message-ID: <airut.{'a' * 32}.{'b' * 32}@airut.example>"],
    ],
)
def test_row_53_automatic_mail_is_recognised(headers: list[str]):
    assert _reason(*headers) is not None


def test_row_53_bounces_and_our_own_mail_are_recognised():
    assert "return path" in (_reason(mail_from="<>") or "")
    assert "return path" in (_reason(mail_from="") or "")
    assert "this installation" in (_reason(own=True) or "")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Auto-Submitted: no"],
        ["Auto-Submitted: No (a person)"][:0],
        ["Precedence: first-class"],
        ["Content-Type: multipart/mixed; boundary=x"],
        # A person's program may name its ids after the same host as ours.
        ["Message-ID: <abc@airut.example>"],
    ],
)
def test_people_are_heard(headers: list[str]):
    assert _reason(*headers) is None

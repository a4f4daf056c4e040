"""A mail from the operator's own mailbox: no SPF, and its server's header counts only where that is configured."""

from datetime import UTC, datetime

import pytest

from airut_mail_auth import Envelope, Mailbox, Rules, verify_bytes
from airut_mail_auth.dns import DnsResolver
from airut_mail_auth.testing.zones import ZoneServer

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MAIL = (
    b"Authentication-Results: mx.example; dmarc=pass header.from=lovelace.example\r\n"
    b"From: ada@lovelace.example\r\nSubject: x\r\nDate: Sun, 01 Nov 2026 11:00:00 +0000\r\n\r\nx\r\n"
)
TRUSTED = Rules(mode="trusted-header", authserv_id="mx.example")


@pytest.mark.parametrize(
    ("source", "rules", "verdict", "rule"),
    [
        (Mailbox("imap.example"), TRUSTED, "proven", "trusted-header"),
        (
            Mailbox("imap.example"),
            Rules(mode="trusted-header", authserv_id="other.example"),
            "refused",
            "no-result",
        ),
        (Mailbox("imap.example"), Rules(), "refused", "not-aligned"),
        (Envelope("192.0.2.1", "mx.example", "ada@lovelace.example"), TRUSTED, "refused", "untrusted-peer"),
        (None, TRUSTED, "refused", "untrusted-peer"),
    ],
)
async def test_who_is_believed(source, rules, verdict, rule):
    async with ZoneServer().running() as zone:
        zone.texts("_dmarc.lovelace.example", "v=DMARC1; p=reject")
        zone.texts("lovelace.example", "v=spf1 +all")  # would pass for anybody, if it were asked
        record = await verify_bytes(MAIL, source, DnsResolver(("127.0.0.1", zone.port)), rules, now=NOW)
    assert (record.verdict, record.rule, record.spf) == (verdict, rule, ())
    assert record.mailbox == (source.host if isinstance(source, Mailbox) else None)

"""Attacks on DKIM: RFC 6376 §8 (security considerations), RFC 8301, and what `l=` is abused for (Zone.eu, 2024)."""

from collections.abc import Mapping, Sequence
from typing import Any

from world import AT, DAY, EVIL, LOVELACE, RSA, WEAK, Case, Signer, attack, mail, proven, refused, signer

RFC = "RFC 6376 §8"
L_ABUSE = "l= abuse (2024)"
GOOD = LOVELACE.dkim(mail(), at=AT)


def _tags(**tags: str | None) -> bytes:
    return LOVELACE.dkim(mail(), at=AT, tags=tags)


def _without(*names: str) -> bytes:
    """The mail signed with these headers left open."""
    usual = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")
    return LOVELACE.dkim(mail(), at=AT, headers=[name for name in usual if name not in names])


def _key(selector: str, key: Any = RSA, tags: Mapping[str, str | None] | None = None) -> bytes:
    return Signer("lovelace.example", selector, key).dkim(mail(), at=AT, tags=tags)


def _bad(name: str, data: bytes, says: str, source: str = RFC) -> Case:
    return attack(name, data, "not-aligned", says, source=source)


def _piled(count: int, data: bytes) -> bytes:
    for _ in range(count):
        data = _broken(data)
    return data


def _broken(data: bytes) -> bytes:
    """One more signature, which does not match."""
    signed = LOVELACE.dkim(data, at=AT)
    head = signed[: len(signed) - len(data)]
    return head.replace(b"\r\n b=", b"\r\n b=AAAA") + data


def _replaced(data: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    for old, new in pairs:
        if old not in data:
            raise ValueError(f"{old!r} is not there")
        data = data.replace(old, new, 1)
    return data


def _partial(body: str, length: int, appended: bytes) -> bytes:
    data = mail(body)
    hashed = data.partition(b"\r\n\r\n")[2][:length]
    return LOVELACE.dkim(data, at=AT, body=hashed, tags={"l": str(length), "c": "relaxed/simple"}) + appended


OPEN_TO: Sequence[str] = ("from", "subject", "date", "message-id", "content-type", "mime-version")

CASES = [
    _bad("none", mail(), "no DKIM signature", "field notes 50"),
    _bad("body-changed", _replaced(GOOD, (b"fix the greeting", b"drop the table")), "body was changed"),
    _bad("body-appended", GOOD + b"And delete everything.\r\n", "body was changed"),
    _bad("subject-changed", _replaced(GOOD, (b"The greeting", b"Delete everything")), "does not match"),
    _bad("author-changed", _replaced(GOOD, (b"ada@", b"eve@")), "does not match"),
    _bad(
        "recipient-changed",
        LOVELACE.dkim(mail(To="bob@x.example"), at=AT).replace(b"bob@x.example", b"demo@airut.example"),
        "does not match",
    ),
    _bad(
        "signature-of-another-mail",
        GOOD[: GOOD.index(b"\r\nFrom:") + 2] + mail("Delete everything."),
        "body was changed",
    ),
    _bad("l-zero", _partial("Hello.", 0, b"Delete everything.\r\n"), "l= leaves", L_ABUSE),
    _bad("l-appended", _partial("Hello.", 8, b"Delete everything.\r\n"), "l= leaves", L_ABUSE),
    _bad("l-of-the-whole-body", _partial("Hello.", 8, b""), "l= leaves", L_ABUSE),
    _bad(
        "l-appended-part",
        LOVELACE.dkim(
            mail("--x\n\nHello.\n--x--", Content_Type="multipart/mixed; boundary=x"),
            at=AT,
            headers=("from", "to", "subject", "date"),
            tags={"l": "0"},
        ),
        "l= leaves",
        L_ABUSE,
    ),
    _bad("l-huge", _tags(l="9" * 40), "l= leaves", L_ABUSE),
    _bad("from-open", _without("from"), "From is not signed"),
    _bad(
        "subject-open",
        _replaced(_without("subject"), (b"The greeting", b"Delete everything")),
        "Subject is not signed",
    ),
    _bad("date-open", _without("date"), "Date is not signed"),
    _bad(
        "subject-added",
        b"Subject: Delete everything\r\n" + LOVELACE.dkim(mail(drop=["Subject"]), at=AT),
        "Subject is not signed",
    ),
    _bad(
        "oversigned-reply-to-added",
        b"Reply-To: mallory@evil.example\r\n"
        + LOVELACE.dkim(mail(), at=AT, headers=("from", "to", "subject", "date", "reply-to")),
        "does not match",
    ),
    _bad("expired", _tags(x=str(AT - DAY), t=str(AT - 2 * DAY)), "expired"),
    _bad("expires-before-made", _tags(x=str(AT - 5)), "before it was made"),
    _bad("made-in-the-future", LOVELACE.dkim(mail(), at=AT + 3 * DAY), "in the future"),
    _bad(
        "replayed-after-eight-days",
        LOVELACE.dkim(mail(), at=AT - 8 * DAY),
        "more than 7 days",
        "field notes, section 4",
    ),
    _bad(
        "replayed-by-date",
        LOVELACE.dkim(mail(Date="Thu, 01 Oct 2026 00:00:00 +0000"), at=AT, tags={"t": None}),
        "more than 7 days",
    ),
    _bad("time-is-no-number", _tags(t="now"), "times are unreadable"),
    _bad("rsa-sha1", _tags(a="rsa-sha1"), "algorithm", "RFC 8301 §3.1"),
    _bad("algorithm-none", _tags(a="none"), "algorithm"),
    _bad("algorithm-of-the-other-key", _tags(a="ed25519-sha256"), "another kind"),
    _bad("two-d-tags", _tags(d="evil.example; d=lovelace.example"), "unreadable"),
    _bad("no-d", _tags(d=None), "bad domain"),
    _bad("d-of-one-label", _tags(d="example"), "bad domain"),
    _bad("d-with-a-nul-like-end", _tags(d="lovelace.example%00.evil.example"), "bad domain"),
    _bad("i-outside-of-d", _tags(i="@evil.example"), "outside of d="),
    _bad(
        "i-claims-the-victim", EVIL.dkim(mail(), at=AT, tags={"i": "ada@lovelace.example"}), "outside of d="
    ),
    _bad("selector-with-a-slash", _tags(s="../mail"), "selector"),
    _bad("selector-leads-away", _tags(s="mail._domainkey.evil.example"), "no key"),
    _bad("empty-selector", _tags(s=""), "s= is missing"),
    _bad("version-two", _tags(v="2"), "unknown version"),
    _bad("version-missing", _tags(v=None), "v= is missing"),
    _bad("body-hash-missing", _replaced(GOOD, (b" bh=", b" zh=")), "bh= is missing"),
    _bad(
        "signature-missing",
        GOOD.replace(GOOD[GOOD.index(b"\r\n b=") + 5 : GOOD.index(b"\r\nFrom:")], b"", 1),
        "b= is missing",
    ),
    _bad("signature-with-junk", _replaced(GOOD, (b"\r\n b=", b"\r\n b=!!")), "not base64"),
    _bad(
        "signature-too-short",
        _replaced(GOOD, (GOOD[GOOD.index(b"\r\n b=") : GOOD.index(b"\r\nFrom:")], b"\r\n b=AAAA")),
        "does not match",
    ),
    _bad("key-elsewhere", _tags(q="http"), "not in the DNS"),
    _bad("unknown-form", _tags(c="nowsp/relaxed"), "canonical"),
    _bad("h-with-empty-name", _tags(h="from::subject:date"), "malformed"),
    _bad("too-long", _tags(n="x" * 9000), "too long"),
    _bad("unreadable", _replaced(GOOD, (b"v=1;", b"v=1;;")), "unreadable"),
    _bad("key-gone", _key("gone"), "no key"),
    _bad("key-revoked", _key("revoked"), "revoked"),
    _bad("key-in-test-mode", _key("test"), "test mode"),
    _bad("key-for-the-domain-only", _key("strict", tags={"i": "@sub.lovelace.example"}), "subdomains"),
    _bad("key-for-sha1", _key("sha1"), "SHA-256", "RFC 8301"),
    _bad("key-for-reports", _key("tlsrpt"), "not for mail"),
    _bad("key-of-another-kind", _key("kind"), "another kind"),
    _bad("key-of-512-bits", _key("short", WEAK), "too short", "RFC 8301 §3.2"),
    _bad("two-keys", _key("two"), "several keys"),
    _bad("key-unreadable", _key("junk"), "unreadable"),
    _bad("key-version-two", _key("v2"), "version"),
    _bad(
        "signed-with-another-key",
        Signer("lovelace.example", "mail", WEAK).dkim(mail(), at=AT),
        "does not match",
    ),
    _bad("ten-bad-ones-above", _piled(10, GOOD), "does not match", "RFC 6376 §6.1"),
    proven(
        "to-open-and-rewritten",
        _replaced(
            LOVELACE.dkim(mail(To="bob@x.example"), at=AT, headers=OPEN_TO),
            (b"bob@x.example", b"demo@airut.example"),
        ),
        answer=550,
        attack=True,
        source="field notes, section 4",
    ),
    proven(
        "meant-for-somebody-else",
        LOVELACE.dkim(mail(To="list@public.example"), at=AT),
        answer=550,
        attack=True,
        source="field notes, section 4",
    ),
    proven(
        "cc-open-and-added",
        b"Cc: demo@airut.example\r\n" + LOVELACE.dkim(mail(To="bob@x.example"), at=AT),
        answer=550,
        attack=True,
    ),
    # What is sound.
    proven(
        "to-open-from-a-server-of-the-author",
        LOVELACE.dkim(mail(), at=AT, headers=OPEN_TO),
        peer="192.0.2.10",
        mail_from="ada@lovelace.example",
    ),
    proven("simple-simple", _tags(c="simple/simple")),
    proven("simple-by-default", _tags(c="simple")),
    proven("relaxed-simple", _tags(c="relaxed/simple")),
    proven("ed25519", Signer("lovelace.example", "ed", signer("lovelace.example").key).dkim(mail(), at=AT)),
    proven("weak-key", _key("weak", WEAK)),
    proven(
        "oversigned",
        LOVELACE.dkim(
            mail(),
            at=AT,
            headers=("from", "from", "to", "to", "subject", "subject", "date", "date", "reply-to"),
        ),
    ),
    proven("h-with-spaces-and-capitals", _tags(h="From : To:\r\n Subject :Date")),
    proven("without-time", LOVELACE.dkim(mail(), at=AT, tags={"t": None})),
    proven("six-days-old", LOVELACE.dkim(mail(), at=AT - 6 * DAY)),
    proven("expires-tomorrow", _tags(x=str(AT + DAY))),
    proven("nine-bad-ones-above", _piled(9, GOOD)),
    proven("strangers-signature-above", EVIL.dkim(GOOD, at=AT)),
    proven("strangers-signature-below", LOVELACE.dkim(EVIL.dkim(mail(), at=AT), at=AT)),
    proven(
        "spaces-changed-where-relaxed",
        _replaced(GOOD, (b"Subject: The greeting", b"SUBJECT:\t The   greeting ")),
    ),
    proven("empty-lines-appended", GOOD + b"\r\n\r\n"),
    refused(
        "spaces-changed-where-simple",
        _replaced(_tags(c="simple/simple"), (b"Subject: The", b"Subject:  The")),
        "not-aligned",
        "does not match",
    ),
]

"""ARC: forwarded mail (RFC 8617), and chains that lie (§9.3, §9.6)."""

from world import AT, DAY, FORWARDER, LISTS, LOVELACE, Signer, attack, later, mail, proven, signer

PASS = "mx.lists.example; spf=pass smtp.mailfrom=lovelace.example; dmarc=pass header.from=lovelace.example"
FAIL = "mx.lists.example; dmarc=fail header.from=lovelace.example"
EVIL = signer("evil.example", "arc")
RFC = "RFC 8617 §9"
#: Ada's mail as the forwarder got it; the footer that was added broke her signature.
BROKEN = LOVELACE.dkim(mail(), at=AT) + b"-- \r\nsent through a list\r\n"
TEXT = "Please fix the greeting.\n--\nsent through a list"
GOOD = LISTS.arc(BROKEN, at=AT, results=PASS)
BOTH = {"arc_sealers": ["lists.example", "forwarder.example"]}


def _bad(name, data, says, **more):
    return attack(name, data, "not-aligned", says, source=RFC, **more)


def _swap(data, old, new):
    if old not in data:
        raise ValueError(old)
    return data.replace(old, new, 1)


def _set_of(data):
    """The ARC headers on top of a mail."""
    return data[: len(data) - len(BROKEN)]


CASES = [
    _bad("stranger", EVIL.arc(BROKEN, at=AT, results=PASS), "not among the sealers"),
    _bad("stranger-behind-the-list", EVIL.arc(GOOD, at=AT, results=PASS), "not among the sealers"),
    _bad(
        "stranger-claims-the-list",
        Signer("lists.example", "arc", EVIL.key).arc(BROKEN, at=AT, results=PASS),
        "does not match",
    ),
    _bad(
        "stranger-in-between",
        FORWARDER.arc(EVIL.arc(GOOD, at=AT, results=PASS), at=AT, results=FAIL),
        "evil.example is not",
        rules=BOTH,
    ),
    _bad("the-list-saw-a-failure", LISTS.arc(BROKEN, at=AT, results=FAIL), "no sealer"),
    _bad(
        "the-list-saw-another-author",
        LISTS.arc(BROKEN, at=AT, results=PASS.replace("from=love", "from=other")),
        "no sealer",
    ),
    _bad(
        "the-list-saw-spf-only",
        LISTS.arc(BROKEN, at=AT, results="mx; spf=pass smtp.mailfrom=lovelace.example"),
        "no sealer",
    ),
    _bad("pass-in-a-comment", LISTS.arc(BROKEN, at=AT, results=f"mx; dmarc=fail ({PASS})"), "no sealer"),
    _bad(
        "pass-twice",
        LISTS.arc(BROKEN, at=AT, results=f"{PASS}; dmarc=pass header.from=evil.example"),
        "no sealer",
    ),
    _bad("body-changed", _swap(GOOD, b"fix the greeting", b"drop the table"), "body was changed"),
    _bad("subject-changed", _swap(GOOD, b"The greeting", b"Delete everything"), "does not match"),
    _bad(
        "results-changed",
        LISTS.arc(BROKEN, at=AT, results=FAIL).replace(b"dmarc=fail", b"dmarc=pass"),
        "seal 1",
    ),
    _bad("author-changed", _swap(GOOD, b"ada@lovelace", b"eve@lovelace"), "does not match"),
    _bad("set-on-another-mail", _set_of(GOOD) + mail("Delete everything."), "body was changed"),
    _bad("seal-missing", GOOD[GOOD.index(b"ARC-Message") :], "not complete"),
    _bad("two-seals", GOOD[: GOOD.index(b"ARC-Message")] + GOOD, "two Arc-Seal"),
    _bad(
        "first-set-removed",
        FORWARDER.arc(GOOD, at=AT, results=FAIL).replace(_set_of(GOOD), b""),
        "a set is missing",
        rules=BOTH,
    ),
    _bad("cv-fail", LISTS.arc(BROKEN, at=AT, results=PASS, cv="fail"), "cv=fail"),
    _bad("cv-pass-at-the-beginning", LISTS.arc(BROKEN, at=AT, results=PASS, cv="pass"), "cv=pass"),
    _bad("cv-none-in-the-middle", FORWARDER.arc(GOOD, at=AT, results=PASS, cv="none"), "cv=none", rules=BOTH),
    _bad("instance-zero", LISTS.arc(BROKEN, at=AT, results=PASS, seal_tags={"i": "0"}), "no instance"),
    _bad("instance-51", LISTS.arc(BROKEN, at=AT, results=PASS, seal_tags={"i": "51"}), "no instance"),
    _bad("seal-with-h", LISTS.arc(BROKEN, at=AT, results=PASS, seal_tags={"h": "from"}), "h="),
    _bad(
        "l-in-the-message-signature",
        LISTS.arc(BROKEN, at=AT, results=PASS, message_tags={"l": "0"}),
        "l= leaves",
    ),
    _bad(
        "from-open",
        LISTS.arc(BROKEN, at=AT, results=PASS, headers=("to", "subject", "date")),
        "leaves From open",
    ),
    _bad(
        "message-signature-of-a-stranger",
        LISTS.arc(BROKEN, at=AT, results=PASS, message_tags={"d": "evil.example"}),
        "not among",
    ),
    _bad("old", LISTS.arc(BROKEN, at=AT - 8 * DAY, results=PASS), "more than 7 days"),
    _bad("rsa-sha1", LISTS.arc(BROKEN, at=AT, results=PASS, seal_tags={"a": "rsa-sha1"}), "algorithm"),
    _bad("no-sealer-is-named", GOOD, "body was changed", rules={"arc_sealers": []}),
    attack(
        "policy-none-is-not-lifted",
        LISTS.arc(mail(From="ada@none.example"), at=AT, results=PASS.replace("lovelace", "none")),
        "policy-none",
        source=RFC,
    ),
    later(
        "key-cannot-be-read", Signer("lists.example", "arcfail", LISTS.key).arc(BROKEN, at=AT, results=PASS)
    ),
    proven("forwarded", GOOD, rule="arc", text=TEXT),
    proven("forwarded-twice", FORWARDER.arc(GOOD, at=AT, results=FAIL), rule="arc", rules=BOTH, text=TEXT),
    proven(
        "stranger-before-the-list",
        LISTS.arc(EVIL.arc(BROKEN, at=AT, results=FAIL), at=AT, results=PASS),
        rule="arc",
        text=TEXT,
    ),
    proven("signature-still-good", EVIL.arc(LOVELACE.dkim(mail(), at=AT), at=AT, results=FAIL)),
]

"""Attacks on the From header: RFC 5322 §3.4 and §3.6.2, RFC 9989 §11.5, and published work on parsers that disagree
("Composition Kills", USENIX Security 2020; "Weak Links in Authentication Chains", USENIX Security 2021).

The mails are truly signed, by the domain that a careless reader would take for the author's, or by the attacker's.
"""

from world import ADA, AT, EVIL, LOVELACE, Case, attack, mail, proven, signer

KILLS = "Composition Kills (2020)"
WEAK_LINKS = "Weak Links (2021)"


def _signed(value: str, by: object = LOVELACE) -> bytes:
    return by.dkim(mail(From=value), at=AT)


def _value(name: str, value: str, says: str = "", rule: str = "from", source: str = "RFC 5322 §3.4") -> Case:
    return attack(name, _signed(value), rule, says, source=source)


_GOOD = LOVELACE.dkim(mail(), at=AT)
_EVIL = EVIL.dkim(mail(From="Mallory <mallory@evil.example>"), at=AT)

CASES = [
    attack(
        "two-headers-ours-first",
        b"From: ada@lovelace.example\r\n" + _EVIL,
        "malformed",
        "more than one From",
        source=KILLS,
    ),
    attack(
        "two-headers-ours-last",
        b"From: mallory@evil.example\r\n" + _GOOD,
        "malformed",
        "more than one From",
        source=KILLS,
    ),
    attack(
        "two-headers-another-case",
        b"fRoM: ada@lovelace.example\r\n" + _EVIL,
        "malformed",
        "more than one From",
        source=KILLS,
    ),
    attack(
        "two-headers-far-apart",
        _EVIL.replace(b"MIME-Version", b"From: ada@lovelace.example\r\nMIME-Version", 1),
        "malformed",
        source=KILLS,
    ),
    attack(
        "two-headers-same-value", b"From: Ada <ada@lovelace.example>\r\n" + _GOOD, "malformed", source=KILLS
    ),
    attack(
        "no-header",
        _GOOD.replace(b"\r\nFrom:", b"\r\nX-From:"),
        "malformed",
        "no From",
        source="RFC 5322 §3.6",
    ),
    attack(
        "space-before-colon",
        _EVIL.replace(b"\r\nFrom:", b"\r\nFrom : ada@lovelace.example\r\nFrom:", 1),
        "malformed",
        "no field",
        source=KILLS,
    ),
    attack(
        "first-line-is-a-continuation",
        b" From: ada@lovelace.example\r\n" + _EVIL,
        "malformed",
        "continuation",
        source=KILLS,
    ),
    attack(
        "nul-in-header",
        _EVIL.replace(b"mallory@", b"ada@lovelace.example\0mallory@", 1),
        "malformed",
        "NUL",
        source=KILLS,
    ),
    attack(
        "control-character",
        _EVIL.replace(b"mallory@", b"ada\x08mallory@", 1),
        "malformed",
        "control",
        source=KILLS,
    ),
    attack(
        "raw-utf8",
        _EVIL.replace(b"mallory@evil", "ada@lov\u0435lace".encode(), 1),
        "no-policy",
        "xn--lovlace-9gg.example",
        source="RFC 6532",
    ),
    attack(
        "ideographic-full-stop",
        _EVIL.replace(b"evil.example>", "lovelace\u3002example>".encode(), 1),
        "from",
        "is not a domain",
        source="UTS 46",
    ),
    _value("two-mailboxes", "ada@lovelace.example, mallory@evil.example", source=KILLS),
    _value(
        "two-mailboxes-with-names", "Ada <ada@lovelace.example>, Mallory <mallory@evil.example>", source=KILLS
    ),
    _value("two-angle-addresses", "<mallory@evil.example> <ada@lovelace.example>", source=KILLS),
    _value("address-before-angle", "mallory@evil.example <ada@lovelace.example>", source=KILLS),
    _value("address-behind-angle", "<ada@lovelace.example> mallory@evil.example", source=KILLS),
    _value("name-is-an-angle-address", '"x" <mallory@evil.example> "y" <ada@lovelace.example>', source=KILLS),
    _value("group", "Friends: ada@lovelace.example;", source="RFC 5322 §3.4, RFC 6854"),
    _value("group-of-two", "Friends: mallory@evil.example, ada@lovelace.example;", source="RFC 6854"),
    _value("empty-group", "undisclosed-recipients:;", source="RFC 6854"),
    _value("comment-behind", "ada@lovelace.example (mallory@evil.example)"),
    _value("comment-before", "(mallory@evil.example) ada@lovelace.example"),
    _value("comment-in-domain", "ada@lovelace.example(.evil.example)", source="CVE-2020-12272"),
    _value("comment-hides-domain", "ada@evil.example(.lovelace.example)", source="CVE-2020-12272"),
    _value("comment-in-local-part", "ada(mallory)@lovelace.example"),
    _value("comment-unclosed", "Ada (x <ada@lovelace.example>"),
    _value("route", "<@evil.example:ada@lovelace.example>", source="RFC 5322 §4.4"),
    _value("route-of-two", "<@evil.example,@b.example:ada@lovelace.example>", source="RFC 5322 §4.4"),
    _value("quoted-local-part", '"ada"@lovelace.example'),
    _value("address-in-quoted-local-part", '"mallory@evil.example"@lovelace.example', source=WEAK_LINKS),
    _value("two-at-signs", "ada@lovelace.example@evil.example", source=KILLS),
    _value("percent-route", "ada%lovelace.example@[192.0.2.66]", source="RFC 5321 appendix F.2"),
    _value("address-literal", "ada@[192.0.2.10]"),
    _value("address-as-domain", "ada@192.0.2.10"),
    _value("domain-with-last-dot", "ada@lovelace.example.", source=WEAK_LINKS),
    _value("domain-of-one-label", "ada@localhost"),
    _value("empty-label", "ada@lovelace..example"),
    _value("space-in-domain", "ada@lovelace .example"),
    _value("space-around-at", "ada @ lovelace.example"),
    _value("folded-in-the-address", "ada@lovelace.\n example", source="RFC 5322 §3.2.2"),
    _value("semicolon", "ada@lovelace.example; mallory@evil.example", source=KILLS),
    _value("open-quote", '"Ada <ada@lovelace.example>'),
    _value("open-angle", "Ada <ada@lovelace.example"),
    _value("closed-twice", "Ada <ada@lovelace.example>>"),
    _value("empty", ""),
    _value("empty-angle", "Ada <>"),
    _value("backslash", "ada\\@evil.example@lovelace.example"),
    _value("bad-a-label", "ada@xn--zzzzzz99999.example", source="RFC 5891"),
    _value("encoded-word-is-the-address", "=?utf-8?Q?ada=40lovelace.example?=", source="RFC 2047 §5"),
    _value("encoded-word-in-the-domain", "ada@=?utf-8?Q?lovelace?=.example", source="RFC 2047 §5"),
    _value(
        "very-long", "a" * 900 + "\n " + "b" * 900 + "\n " + "c" * 900 + " <ada@lovelace.example>", "too long"
    ),
    # The display name and every other header say nothing: these are proven to be of the attacker, who is not listed.
    proven(
        "name-is-the-address",
        _signed('"ada@lovelace.example" <mallory@evil.example>', EVIL),
        answer=550,
        attack=True,
        source=WEAK_LINKS,
    ),
    proven(
        "name-is-encoded-address",
        _signed("=?utf-8?B?YWRhQGxvdmVsYWNlLmV4YW1wbGU=?= <mallory@evil.example>", EVIL),
        answer=550,
        attack=True,
        source=WEAK_LINKS,
    ),
    proven(
        "name-is-encoded-angle-address",
        _signed("=?utf-8?Q?Ada_=3Cada=40lovelace.example=3E?= <mallory@evil.example>", EVIL),
        answer=550,
        attack=True,
        source=WEAK_LINKS,
    ),
    proven(
        "name-with-padding",
        _signed('"ada@lovelace.example' + " " * 70 + '" <mallory@evil.example>', EVIL),
        answer=550,
        attack=True,
        source=WEAK_LINKS,
    ),
    proven(
        "homograph-domain",
        _signed(ADA.replace("lovelace", "xn--lovelce-6fg"), signer("xn--lovelce-6fg.example")),
        answer=550,
        attack=True,
        source="UTS 39",
    ),
    proven(
        "longer-domain",
        _signed("ada@lovelace.example.evil.example", signer("lovelace.example.evil.example")),
        answer=550,
        attack=True,
        source="field notes 50",
    ),
    proven(
        "sender-is-somebody-else",
        EVIL.dkim(mail(From="mallory@evil.example", Sender=ADA), at=AT),
        answer=550,
        attack=True,
        source="RFC 5322 §3.6.2",
    ),
    proven(
        "resent-from-is-somebody-else",
        EVIL.dkim(mail(From="mallory@evil.example", Resent_From=ADA), at=AT),
        answer=550,
        attack=True,
        source="RFC 5322 §3.6.6",
    ),
    proven(
        "reply-to-is-somebody-else",
        EVIL.dkim(mail(From="mallory@evil.example", Reply_To=ADA), at=AT),
        answer=550,
        attack=True,
        source="field notes 52",
    ),
    proven(
        "x-sender-headers",
        EVIL.dkim(
            mail(
                From="mallory@evil.example",
                X_Sender=ADA,
                X_Original_From=ADA,
                Return_Path="<ada@lovelace.example>",
            ),
            at=AT,
        ),
        answer=550,
        attack=True,
    ),
    # What is sound.
    proven("name-with-comma", _signed('"Lovelace, Ada" <ada@lovelace.example>')),
    proven("name-encoded", _signed("=?utf-8?Q?Ad=C3=A4?= <ada@lovelace.example>")),
    proven("no-name", _signed("ada@lovelace.example")),
    proven("angle-only", _signed("<ada@lovelace.example>")),
    proven("upper-case", _signed("ADA@Lovelace.EXAMPLE")),
    proven("folded-behind-the-name", _signed("Ada\n <ada@lovelace.example>")),
    proven("begins-on-the-next-line", _signed("\n ada@lovelace.example")),
    proven("another-address-of-the-domain", _signed("bob@lovelace.example"), answer=550),
    proven("sub-address", _signed("ada+work@lovelace.example"), answer=550),
]

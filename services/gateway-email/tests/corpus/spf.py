"""SPF: which identity counts (RFC 7208 §2), limits (§4.6.4), and what the envelope can pretend."""

from world import SERVER, STRANGER, Case, attack, later, mail, proven

HERE = {"peer": SERVER, "helo": "mx.lovelace.example"}


def _from(domain: str) -> bytes:
    return mail(From=f"ada@{domain}")


def _bad(
    name: str,
    domain: str,
    says: str,
    *,
    mail_from: str | None = None,
    peer: str = SERVER,
    helo: str = "x.invalid",
    source: str = "RFC 7208",
) -> Case:
    return attack(name, _from(domain), "not-aligned", says, peer=peer, helo=helo, source=source,
                  mail_from=f"ada@{domain}" if mail_from is None else mail_from)  # fmt: skip


CASES = [
    _bad("stranger", "lovelace.example", "SPF fail", peer=STRANGER),
    _bad("softfail", "spfsoft.example", "SPF softfail"),
    _bad("neutral", "spfneutral.example", "SPF neutral"),
    _bad("no-record", "old.example", "SPF none"),
    _bad(
        "another-domain-passes",
        "lovelace.example",
        "evil.example is not aligned",
        mail_from="mallory@evil.example",
        source="field notes 50",
    ),
    _bad(
        "helo-passes-mail-from-does-not",
        "lovelace.example",
        "evil.example is not aligned",
        mail_from="mallory@evil.example",
        helo="mx.lovelace.example",
        source="RFC 7208 §2.4",
    ),
    _bad(
        "helo-of-the-author-mail-from-invalid",
        "lovelace.example",
        "no DKIM",
        mail_from="x@[192.0.2.10]",
        helo="lovelace.example",
        source="RFC 7208 §2.4",
    ),
    _bad(
        "two-at-signs-in-mail-from",
        "lovelace.example",
        "evil.example is not aligned",
        mail_from="ada@lovelace.example@evil.example",
        source="Composition Kills (2020)",
    ),
    _bad(
        "quoted-mail-from",
        "lovelace.example",
        "evil.example is not aligned",
        mail_from='"ada@lovelace.example"@evil.example',
    ),
    _bad(
        "mail-from-with-a-space", "lovelace.example", "no DKIM", mail_from="ada@lovelace.example evil.example"
    ),
    _bad(
        "mail-from-with-a-nul", "lovelace.example", "no DKIM", mail_from="ada@lovelace.example\0.evil.example"
    ),
    _bad("strict-and-a-subdomain", "strict.example", "not aligned", mail_from="x@bounce.strict.example"),
    _bad("eleven-lookups", "spf11.example", "permerror"),
    _bad("three-empty-answers", "spfvoid.example", "permerror"),
    _bad("two-records", "spftwo.example", "permerror"),
    _bad("syntax-error-behind-a-match", "spfbad.example", "permerror"),
    _bad("includes-itself", "spfloop.example", "permerror"),
    _bad("macro-of-another-person", "spfmacro.example", "SPF fail", mail_from="bob@spfmacro.example"),
    _bad("ptr-of-a-stranger", "spfptr.example", "SPF fail", peer=STRANGER),
    _bad("no-peer-address", "lovelace.example", "SPF none", peer="unknown"),
    _bad(
        "null-sender-and-a-strangers-helo",
        "lovelace.example",
        "not aligned",
        mail_from="",
        helo="helo.evil.example",
    ),
    later("cannot-be-read", _from("brokenspf.example"), peer=SERVER, mail_from="ada@brokenspf.example"),
    # What is sound.
    proven("aligned", mail(), mail_from="ada@lovelace.example", **HERE),
    proven("aligned-ipv6", mail(), peer="2001:db8::10", helo="x", mail_from="ada@lovelace.example"),
    proven("aligned-mapped", mail(), peer=f"::ffff:{SERVER}", helo="x", mail_from="ada@lovelace.example"),
    proven("bounce-subdomain", mail(), mail_from="b-1@bounce.lovelace.example", **HERE),
    proven("capitals", mail(), mail_from="ADA@LoveLace.Example", **HERE),
    proven("null-sender-and-helo", mail(), mail_from="", answer=550, **HERE),
    proven("ten-lookups", _from("spf10.example"), peer=SERVER, mail_from="ada@spf10.example", answer=550),
    proven("macro", _from("spfmacro.example"), peer=SERVER, mail_from="ada@spfmacro.example", answer=550),
    proven("ptr", _from("spfptr.example"), peer=SERVER, mail_from="ada@spfptr.example", answer=550),
    proven(
        "redirect", _from("spfredirect.example"), peer=SERVER, mail_from="ada@spfredirect.example", answer=550
    ),
]

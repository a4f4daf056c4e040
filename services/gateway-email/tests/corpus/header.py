"""Authentication-Results: forged, misplaced and misread (RFC 8601 §7; field notes 50). The gateway stands behind
mx.airut.example at 192.0.2.25; the attacker writes any header that he likes below what that server puts on top."""

from world import AT, EVIL, OWN_SERVER, STRANGER, attack, mail, proven

RFC = "RFC 8601 §7"
OURS = "mx.airut.example"
RULES = {"mode": "trusted-header", "authserv_id": OURS, "peers": ["192.0.2.25/32", "2001:db8:25::/64"]}
MICROSOFT = {"mode": "trusted-header", "upstream": "microsoft-365", "peers": ["192.0.2.25/32"]}
GOOGLE = {**RULES, "authserv_id": "mx.google.com"}
FASTMAIL = {**RULES, "authserv_id": "*.messagingengine.com"}
PASS = "dmarc=pass (p=reject) header.from=lovelace.example"
FAIL = "dmarc=fail (p=reject) header.from=lovelace.example"
M365 = (
    "spf=pass (sender IP is 192.0.2.7) smtp.mailfrom=lovelace.example; dkim=pass (signature was verified)\n "
    "header.d=lovelace.example;dmarc=pass action=none\n header.from=lovelace.example;compauth=pass reason=100"
)


def _with(*values, name="Authentication-Results"):
    lines = "".join(f"{name}: {value}\n" for value in values).replace("\n", "\r\n").encode()
    return lines + mail()


def _bad(name, *values, says="", rule="no-result", **more):
    more = {"peer": OWN_SERVER, "rules": RULES, "source": RFC} | more
    return attack(name, _with(*values), rule, says, **more)


def _good(name, *values, **more):
    more = {"peer": OWN_SERVER, "rules": RULES} | more
    return proven(name, _with(*values), rule="trusted-header", **more)


CASES = [
    _bad("none"),
    _bad("of-another-server", f"mx.evil.example; {PASS}", says="no Authentication-Results"),
    _bad("name-with-a-suffix", f"{OURS}.evil.example; {PASS}", says="no Authentication-Results"),
    _bad("name-with-a-prefix", f"evil-{OURS}; {PASS}", says="no Authentication-Results"),
    _bad("name-in-a-comment", f"({OURS};) mx.evil.example; {PASS}", says="no Authentication-Results"),
    _bad("name-as-a-result", f"mx.evil.example; x={OURS}; {PASS}", says="no Authentication-Results"),
    _bad("below-a-failure", f"{OURS}; {FAIL}", f"{OURS}; {PASS}", says="no single"),
    _bad("below-none", f"{OURS}; none", f"{OURS}; {PASS}", says="no single"),
    _bad("below-what-cannot-be-read", f"{OURS}; spf=pass (", f"{OURS}; {PASS}", says="no single"),
    _bad(
        "from-a-stranger",
        f"{OURS}; {PASS}",
        says="not among the mail servers",
        rule="untrusted-peer",
        peer=STRANGER,
    ),
    _bad("from-the-next-address", f"{OURS}; {PASS}", rule="untrusted-peer", peer="192.0.2.26"),
    _bad("from-nowhere", f"{OURS}; {PASS}", rule="untrusted-peer", peer="?"),
    _bad("of-a-failure", f"{OURS}; {FAIL}"),
    _bad("of-a-temperror", f"{OURS}; dmarc=temperror header.from=lovelace.example"),
    _bad("of-a-bestguesspass", f"{OURS}; dmarc=bestguesspass header.from=lovelace.example"),
    _bad("of-none", f"{OURS}; dmarc=none header.from=lovelace.example"),
    _bad(
        "of-spf-and-dkim-only",
        f"{OURS}; spf=pass smtp.mailfrom=lovelace.example; dkim=pass header.d=lovelace.example",
    ),
    _bad("of-another-author", f"{OURS}; dmarc=pass header.from=evil.example", says="another domain"),
    _bad(
        "of-a-longer-author",
        f"{OURS}; dmarc=pass header.from=lovelace.example.evil.example",
        says="another domain",
    ),
    _bad("of-nobody", f"{OURS}; dmarc=pass"),
    _bad("of-two-authors", f"{OURS}; dmarc=pass header.from=lovelace.example header.from=evil.example"),
    _bad("two-results", f"{OURS}; {PASS}; {FAIL}"),
    _bad("two-results-of-two-authors", f"{OURS}; dmarc=pass header.from=evil.example; {PASS}"),
    _bad("in-a-comment", f"{OURS}; dmarc=fail ({PASS})"),
    _bad("in-a-nested-comment", f"{OURS}; dmarc=fail (a (b) ; {PASS})"),
    _bad("in-a-reason", f'{OURS}; spf=pass reason="; {PASS}"'),
    _bad("in-mail-from", f'{OURS}; spf=pass smtp.mailfrom="; {PASS};"@evil.example'),
    _bad(
        "in-an-unquoted-mail-from",
        f"{OURS}; spf=pass smtp.mailfrom=x; {PASS}; {FAIL}",
        source="injection by MAIL FROM",
    ),
    _bad("failure-without-a-semicolon", f"{OURS}; {PASS} {FAIL}"),
    _bad("method-failure-without-a-semicolon", f"{OURS}; {PASS} dmarc=fail"),
    _bad("without-a-semicolon", f"{OURS}; spf=pass {PASS}"),
    _bad("with-a-quoted-pair", f'{OURS}; spf=pass reason="\\"; {PASS}'),
    _bad("of-version-two", f"{OURS} 2; {PASS}", says="no Authentication-Results"),
    _bad("too-long", f"{OURS}; {PASS}; x=" + "y" * 9000),
    _bad("encoded", f"=?utf-8?Q?{OURS}?=; {PASS}", says="no Authentication-Results"),
    attack(
        "under-another-name",
        _with(f"{OURS}; {PASS}", name="X-Authentication-Results"),
        "no-result",
        peer=OWN_SERVER,
        rules=RULES,
        source=RFC,
    ),
    attack(
        "under-the-name-of-arc",
        _with(f"i=1; {OURS}; {PASS}", name="ARC-Authentication-Results"),
        "no-result",
        peer=OWN_SERVER,
        rules=RULES,
        source=RFC,
    ),
    attack("in-native-mode", _with(f"{OURS}; {PASS}"), "not-aligned", "no DKIM", source=RFC),
    attack(
        "in-native-mode-with-a-strangers-signature",
        EVIL.dkim(_with(f"{OURS}; {PASS}"), at=AT),
        "not-aligned",
        source=RFC,
    ),
    _bad(
        "google-below-another",
        "mx.google.com; dmarc=fail header.from=lovelace.example",
        f"mx.google.com; {PASS}",
        rules=GOOGLE,
    ),
    _bad("fastmail-by-a-look-alike", f"mx1.messagingengine.com.evil.example; {PASS}", rules=FASTMAIL),
    _bad("fastmail-by-two-labels", f"a.b.messagingengine.com; {PASS}", rules=FASTMAIL),
    _bad("microsoft-below-another", f"mx.evil.example; {PASS}", M365, rules=MICROSOFT),
    _bad("microsoft-with-a-name", f"mx.evil.example; {PASS}", rules=MICROSOFT),
    _bad("microsoft-failure", M365.replace("dmarc=pass", "dmarc=fail"), M365, rules=MICROSOFT),
    _good("plain", f"{OURS}; {PASS}"),
    _good("with-version-and-comment", f"{OURS} 1 (checked); {PASS}"),
    _good("in-capitals", "MX.Airut.Example; DMARC=Pass Header.From=Lovelace.Example"),
    _good("above-a-forged-failure", f"{OURS}; {PASS}", f"{OURS}; {FAIL}"),
    _good(
        "below-another-server", "relay.example; dmarc=fail header.from=lovelace.example", f"{OURS}; {PASS}"
    ),
    _good("from-ipv6", f"{OURS}; {PASS}", peer="2001:db8:25::1"),
    _good("folded", f"{OURS};\n spf=fail smtp.mailfrom=x.example;\n\t{PASS}"),
    _good("microsoft", M365, rules=MICROSOFT),
    _good(
        "google", f"mx.google.com; dkim=pass header.i=@lovelace.example header.b=Qx/9a+; {PASS}", rules=GOOGLE
    ),
    _good(
        "fastmail",
        f"phl-mx-02.messagingengine.com; dkim=pass header.b=a/b= x-bits=2048; {PASS} policy.is_org=yes; x-vs=clean score=-5 state=0",
        rules=FASTMAIL,
    ),
]

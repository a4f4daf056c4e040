"""DMARC: which policy applies and what is aligned (RFC 9989), and tricks with names (field notes 50)."""

from world import AT, EVIL, LOVELACE, Case, Signer, attack, later, mail, proven, refused, signer

RFC = "RFC 9989 §4.4"


def _by(author: str, domain: str, **more: str) -> bytes:
    one = LOVELACE if domain == "lovelace.example" else signer(domain)
    return one.dkim(mail(From=f"ada@{author}", **more), at=AT)


def _none(name: str, author: str, domain: str, rule: str = "not-aligned", says: str = "not aligned") -> Case:
    return attack(name, _by(author, domain), rule, says, source=RFC)


CASES = [
    _none("another-domain", "lovelace.example", "evil.example"),
    _none("domain-with-a-prefix", "lovelace.example", "evil-lovelace.example"),
    _none("domain-with-a-suffix", "lovelace.example", "lovelace.example.evil.example"),
    _none("two-customers-of-a-suffix", "giant.bank.example", "mega.bank.example"),
    _none("the-suffix-itself", "giant.bank.example", "bank.example"),
    _none("strict-and-a-subdomain-signs", "strict.example", "mail.strict.example"),
    _none("strict-and-the-parent-signs", "mail.strict.example", "strict.example"),
    _none("parent-of-a-domain-of-its-own", "own.lovelace.example", "lovelace.example"),
    _none("child-of-its-own-for-the-parent", "lovelace.example", "sub.own.lovelace.example"),
    _none("no-record", "nodmarc.example", "nodmarc.example", "no-policy", "no valid DMARC policy"),
    _none("no-record-and-unsigned", "nowhere.example", "evil.example", "no-policy", "no valid DMARC policy"),
    _none("two-records", "two.example", "two.example", "no-policy", "no valid DMARC policy"),
    _none("version-in-lower-case", "lower.example", "lower.example", "no-policy", "no valid DMARC policy"),
    _none("unknown-policy", "blocked.example", "blocked.example", "no-policy", "no valid DMARC policy"),
    _none("policy-none", "none.example", "none.example", "policy-none", "is none"),
    _none("policy-none-and-unaligned", "none.example", "evil.example", "policy-none", "is none"),
    _none("quarantine-in-test-mode", "testing.example", "testing.example", "policy-none", "is none"),
    _none("reports-only", "monitor.example", "monitor.example", "policy-none", "is none"),
    _none("made-up-subdomain", "made-up.np.example", "np.example", "policy-none", "is none"),
    _none("subdomain-policy-none", "mail.sp.example", "sp.example", "policy-none", "is none"),
    attack(
        "policy-none-allowed-but-unaligned",
        _by("none.example", "evil.example"),
        "not-aligned",
        source=RFC,
        rules={"allow_policy_none": True},
    ),
    later("policy-cannot-be-read", _by("broken.example", "broken.example"), source="field notes, section 4"),
    later("policy-of-the-parent-cannot-be-read", _by("sub.broken.example", "broken.example")),
    later("key-cannot-be-read", _by("brokenkey.example", "brokenkey.example")),
    refused(
        "stranger-whose-key-cannot-be-read",
        Signer("brokenkey.example", "mail", EVIL.key).dkim(mail(), at=AT),
        "not-aligned",
    ),
    # What is sound. Only ada@lovelace.example is on the list, so the others end with 550 behind the proof.
    proven(
        "policy-none-allowed",
        _by("none.example", "none.example"),
        answer=550,
        rules={"allow_policy_none": True},
    ),
    proven("subdomain-signs", _by("lovelace.example", "mail.lovelace.example")),
    proven("parent-signs", _by("mail.lovelace.example", "lovelace.example"), answer=550),
    proven("sibling-signs", _by("mail.lovelace.example", "signing.lovelace.example"), answer=550),
    proven("strict-and-the-same", _by("strict.example", "strict.example"), answer=550),
    proven("below-a-suffix", _by("giant.bank.example", "giant.bank.example"), answer=550),
    proven("domain-of-its-own", _by("own.lovelace.example", "own.lovelace.example"), answer=550),
    proven("reject-in-test-mode-is-quarantine", _by("rejecttest.example", "rejecttest.example"), answer=550),
    proven("a-record-for-rfc-7489", _by("old.example", "old.example"), answer=550),
    proven("internationalised", _by("xn--bcher-kva.example", "xn--bcher-kva.example"), answer=550),
    proven("made-up-subdomain-that-exists", _by("mail.np.example", "np.example"), answer=550),
    proven("nine-labels", _by("a.b.c.d.e.f.g.lovelace.example", "lovelace.example"), answer=550),
]

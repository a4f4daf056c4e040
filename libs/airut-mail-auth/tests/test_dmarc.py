"""DMARC records and the tree walk (RFC 9989), with the worked examples of its appendix B.4."""

import pytest

from airut_mail_auth.dmarc.record import DmarcRecord, pick_record
from airut_mail_auth.dmarc.walk import organizational_domain, policy_record, walk, walk_names


def _record(*texts: str) -> DmarcRecord | None:
    return pick_record([text.encode() for text in texts])


@pytest.mark.parametrize(
    ("texts", "p"),
    [
        (["v=DMARC1; p=reject"], "reject"),
        (["v=DMARC1; p=Quarantine;"], "quarantine"),
        (["v = DMARC1 ; p = none"], "none"),
        (["v=DMARC1;p=reject;pct=0"], "reject"),
        (["other text", "v=DMARC1; p=reject"], "reject"),
        (["v=DMARC1; p=reject; sp=nonsense"], None),
        (["v=DMARC1; p=reject; sp=nonsense; rua=mailto:a@b.example"], "none"),
        (["v=DMARC1; rua=mailto:a@b.example"], "none"),
        (["v=DMARC1; p=block; rua=mailto:a@b.example!10m"], "none"),
        (["v=DMARC1; adkim=s"], None),
        (["v=DMARC1; p=reject; np=; rua=nonsense"], None),
        (["v=DMARC1"], None),
    ],
)
def test_the_policy_of_a_record(texts: list[str], p: str | None):
    record = _record(*texts)
    assert record is not None
    assert record.p == p


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["v=spf1 -all"],
        ["v=dmarc1; p=reject"],
        ["v=DMARC1x; p=reject"],
        ["v=DMARC2; p=reject"],
        ["p=reject; v=DMARC1"],
        ["v=DMARC1; p=reject", "v=DMARC1; p=none"],
    ],
)
def test_no_record(texts: list[str]):
    assert _record(*texts) is None


def test_tags():
    record = _record("v=DMARC1; p=reject; sp=none; np=quarantine; adkim=S; aspf=s; psd=Y; t=y")
    assert record == DmarcRecord("reject", "none", "quarantine", True, True, "y", True)
    assert _record("v=DMARC1; p=reject; adkim=x; psd=x; t=yes") == DmarcRecord("reject")


@pytest.mark.parametrize(
    ("text", "below", "exists", "policy"),
    [
        ("p=reject; sp=none; np=quarantine", False, True, "reject"),
        ("p=reject; sp=none; np=quarantine", True, True, "none"),
        ("p=reject; sp=none; np=quarantine", True, False, "quarantine"),
        ("p=quarantine; np=reject", True, True, "quarantine"),
        ("p=reject; sp=quarantine", True, False, "quarantine"),
        ("p=reject; t=y", False, True, "quarantine"),
        ("p=quarantine; t=y", False, True, "none"),
        ("p=reject; sp=quarantine; t=Y", True, True, "none"),
        ("adkim=s", False, True, None),
    ],
)
def test_the_policy_that_applies(text: str, below: bool, exists: bool, policy: str | None):
    record = _record(f"v=DMARC1; {text}")
    assert record is not None
    assert record.applied(to_subdomain=below, subdomain_exists=exists) == policy


def test_b_4_2_a_deep_name_is_walked_in_eight_questions():
    assert walk_names("a.b.c.d.e.f.g.h.i.j.k.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.k.example.com",
        "g.h.i.j.k.example.com",
        "h.i.j.k.example.com",
        "i.j.k.example.com",
        "j.k.example.com",
        "k.example.com",
        "example.com",
        "com",
    ]
    assert walk_names("a.b.c.d.e.f.example.com")[:2] == ["a.b.c.d.e.f.example.com", "b.c.d.e.f.example.com"]
    assert walk_names("x.a.b.c.d.e.f.example.com")[:2] == [
        "x.a.b.c.d.e.f.example.com",
        "b.c.d.e.f.example.com",
    ]
    assert walk_names("example.com") == ["example.com", "com"]


@pytest.mark.parametrize(
    ("zone", "author", "organization", "policy_at"),
    [
        ({"example.com": "p=reject", "signing.example.com": "p=reject"}, "example.com", "example.com", "example.com"),
        ({"example.com": "p=reject"}, "a.b.c.d.e.f.g.h.i.j.k.example.com", "example.com", "example.com"),
        ({"b.example.com": "p=reject; psd=n", "example.com": "p=none"}, "a.b.example.com", "b.example.com", "b.example.com"),
        ({"b.example.com": "p=none", "example.com": "p=reject"}, "a.b.example.com", "example.com", "example.com"),
        ({"mail.example.com": "p=reject"}, "mail.example.com", "mail.example.com", "mail.example.com"),
        ({"mail.example.com": "p=reject", "example.com": "p=none"}, "mail.example.com", "example.com", "mail.example.com"),
        ({"mail.example.com": "p=reject; psd=n", "example.com": "p=none"}, "mail.example.com", "mail.example.com", "mail.example.com"),
        # B.4.3
        ({"giant.bank.example": "p=quarantine", "bank.example": "p=reject; psd=y"}, "giant.bank.example", "giant.bank.example", "giant.bank.example"),
        ({"bank.example": "p=reject; psd=y"}, "mail.giant.bank.example", "giant.bank.example", "bank.example"),
        ({"bank.example": "p=reject; psd=y"}, "giant.bank.example", "giant.bank.example", "bank.example"),
        ({"bank.example": "p=reject; psd=y"}, "bank.example", "bank.example", "bank.example"),
        ({}, "example.com", "example.com", None),
    ],
)  # fmt: skip
async def test_tree_walk(zone: dict[str, str], author: str, organization: str, policy_at: str | None):
    async def texts(name: str) -> list[bytes]:
        text = zone.get(name.removeprefix("_dmarc."))
        return [f"v=DMARC1; {text}".encode()] if text else []

    found = await walk(author, texts)
    assert organizational_domain(author, found) == organization
    published = policy_record(author, found)
    assert (published.domain if published else None) == policy_at

"""The world of the corpus: its clock, its keys, its DNS, and how a case is written down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from airut_mail_auth.testing.crafting import Signer, key_record

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp()) - 60
DAY = 86400

US = "demo@airut.example"
ADA = "Ada <ada@lovelace.example>"
TEXT = "Please fix the greeting."
SERVER = "192.0.2.10"
"""A server of lovelace.example."""
STRANGER = "198.51.100.66"
OWN_SERVER = "192.0.2.25"
"""The mail server in front of us, in cases of `trusted-header`."""


def _rsa(name: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key((HERE / "keys" / f"{name}.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


RSA = _rsa("rsa-2048")
WEAK = _rsa("rsa-1024")


def ed25519(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


def signer(domain: str, selector: str = "mail", key: Any = None) -> Signer:
    return Signer(domain, selector, key or ed25519(domain))


LOVELACE = Signer("lovelace.example", "mail", RSA)
EVIL = signer("evil.example")
LISTS = signer("lists.example", "arc")
FORWARDER = signer("forwarder.example", "arc")

_POLICIES = {
    "lovelace.example": "p=reject",
    "evil.example": "p=reject",
    "xn--lovelce-6fg.example": "p=reject",
    "xn--bcher-kva.example": "p=quarantine",
    "strict.example": "p=reject; adkim=s; aspf=s",
    "none.example": "p=none",
    "testing.example": "p=quarantine; t=y",
    "rejecttest.example": "p=reject; t=y",
    "blocked.example": "p=block",
    "monitor.example": "rua=mailto:d@monitor.example",
    "np.example": "p=reject; sp=reject; np=none",
    "sp.example": "p=reject; sp=none",
    "old.example": "p=reject; pct=0; rf=afrf; ri=3600",
    "bank.example": "p=reject; psd=y",
    "own.lovelace.example": "p=reject; psd=n",
    "brokenkey.example": "p=reject",
    "brokenspf.example": "p=reject",
    **{
        f"{name}.example": "p=reject" for name in ("spf10", "spf11", "spfvoid", "spftwo", "spfbad", "spfloop")
    },
    **{
        f"{name}.example": "p=reject"
        for name in ("spfsoft", "spfneutral", "spfmacro", "spfptr", "spfredirect")
    },
}
_SPF = {
    "lovelace.example": f"v=spf1 ip4:{SERVER} ip6:2001:db8::10 -all",
    "bounce.lovelace.example": f"v=spf1 ip4:{SERVER} -all",
    "bounce.strict.example": f"v=spf1 ip4:{SERVER} -all",
    "mx.lovelace.example": f"v=spf1 ip4:{SERVER} -all",
    "evil.example": "v=spf1 +all",
    "strict.example": f"v=spf1 ip4:{SERVER} -all",
    "spf10.example": "v=spf1 " + "".join(f"a:a{n}.spf10.example " for n in range(10)) + f"ip4:{SERVER} -all",
    "spf11.example": "v=spf1 " + "".join(f"a:a{n}.spf10.example " for n in range(11)) + f"ip4:{SERVER} -all",
    "spfvoid.example": f"v=spf1 a:x.spfvoid.example a:y.spfvoid.example a:z.spfvoid.example ip4:{SERVER} -all",
    "spfbad.example": f"v=spf1 ip4:{SERVER} ip4:999.1.1.1 -all",
    "spfloop.example": "v=spf1 include:spfloop.example -all",
    "spfsoft.example": "v=spf1 ~all",
    "spfneutral.example": "v=spf1 ?all",
    "spfmacro.example": "v=spf1 exists:%{ir}.%{l1r-}._ok.%{d2} -all",
    "spfptr.example": "v=spf1 ptr -all",
    "spfredirect.example": "v=spf1 redirect=lovelace.example",
    "helo.evil.example": "v=spf1 +all",
}


def zone() -> dict[str, Any]:
    """The DNS as data: `records` by `name TYPE`, and names whose lookups fail."""
    records: dict[str, list[Any]] = {}
    for domain, policy in _POLICIES.items():
        records[f"_dmarc.{domain} TXT"] = [f"v=DMARC1; {policy}"]
        for one in (signer(domain), signer(f"mail.{domain}"), signer(f"signing.{domain}")):
            records[f"mail._domainkey.{one.domain} TXT"] = [one.record]
        records[f"mail.{domain} A"] = ["192.0.2.80"]
    records |= {f"{domain} TXT": [text] for domain, text in _SPF.items()}
    records["spftwo.example TXT"] = [f"v=spf1 ip4:{SERVER} -all", "v=spf1 +all"]
    records["_dmarc.two.example TXT"] = ["v=DMARC1; p=reject", "v=DMARC1; p=none"]
    records["_dmarc.lower.example TXT"] = ["v=dmarc1; p=reject"]
    for domain in (
        "nodmarc.example",
        "two.example",
        "lower.example",
        "giant.bank.example",
        "mega.bank.example",
    ):
        records[f"mail._domainkey.{domain} TXT"] = [signer(domain).record]
        records[f"{domain} A"] = ["192.0.2.80"]
    for domain in ("evil-lovelace.example", "lovelace.example.evil.example", "sub.own.lovelace.example"):
        records[f"mail._domainkey.{domain} TXT"] = [signer(domain).record]
    for one in (LISTS, FORWARDER, signer("evil.example", "arc")):
        records[f"arc._domainkey.{one.domain} TXT"] = [one.record]
    records |= {f"a{n}.spf10.example A": ["203.0.113.1"] for n in range(11)}
    records["10.2.0.192.ada._ok.spfmacro.example A"] = ["127.0.0.2"]
    records["10.2.0.192.in-addr.arpa PTR"] = ["mx.spfptr.example"]
    records["mx.spfptr.example A"] = [SERVER]
    records |= _lovelace_keys()
    return {
        "records": records,
        "fails": [
            "_dmarc.broken.example TXT",
            "mail._domainkey.brokenkey.example TXT",
            "brokenspf.example TXT",
            "arcfail._domainkey.lists.example TXT",
        ],
    }


def _lovelace_keys() -> dict[str, list[str]]:
    good = LOVELACE.record
    # A key of 512 bits: its modulus need not be a product of primes to be too short.
    short = rsa.RSAPublicNumbers(65537, (1 << 511) | 1).public_key()
    keys = {
        "mail": [good],
        "ed": [signer("lovelace.example").record],
        "weak": [Signer("lovelace.example", "weak", WEAK).record],
        "short": [key_record(short)],
        "revoked": ["v=DKIM1; k=rsa; p="],
        "test": [good + "; t=y"],
        "strict": [good + "; t=s"],
        "sha1": [good + "; h=sha1"],
        "tlsrpt": [good + "; s=tlsrpt"],
        "kind": [good.replace("k=rsa", "k=ed25519")],
        "two": [good, EVIL.record],
        "junk": ["nonsense"],
        "v2": [good.replace("DKIM1", "DKIM2")],
    }
    return {f"{selector}._domainkey.lovelace.example TXT": records for selector, records in keys.items()}


@dataclass(frozen=True)
class Case:
    """One message and what has to become of it."""

    name: str
    data: bytes
    verdict: str
    rule: str
    answer: int
    """Code of the SMTP answer, everything considered."""
    says: str = ""
    """A part of the explanation."""
    text: str | None = None
    """What the agent reads, if it is accepted."""
    attack: bool = False
    """Somebody pretends to be somebody else."""
    source: str = ""
    peer: str = STRANGER
    helo: str = "client.invalid"
    mail_from: str = "bounce@bulk.invalid"
    rules: Mapping[str, Any] = field(default_factory=lambda: {"arc_sealers": ["lists.example"]})


def mail(text: str = TEXT, *, drop: Sequence[str] = (), extra: str = "", **headers: str) -> bytes:
    """A mail as lines; headers by name with `_` for `-`."""
    usual = {
        "From": ADA,
        "To": US,
        "Subject": "The greeting",
        "Date": "Sun, 01 Nov 2026 11:58:00 +0000",
        "Message-ID": "<1@lovelace.example>",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    }
    usual |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in drop]
    return ("\n".join([*lines, *filter(None, [extra]), "", text, ""])).replace("\n", "\r\n").encode()


def proven(
    name: str, data: bytes, *, rule: str = "dmarc", answer: int = 250, text: str | None = TEXT, **more: Any
) -> Case:
    return Case(name, data, "proven", rule, answer, text=text if answer == 250 else None, **more)


def refused(name: str, data: bytes, rule: str, says: str = "", **more: Any) -> Case:
    answer = 554 if rule == "malformed" else 550
    return Case(name, data, "refused", rule, answer, says, **more)


def attack(name: str, data: bytes, rule: str, says: str = "", **more: Any) -> Case:
    return refused(name, data, rule, says, attack=True, **more)


def later(name: str, data: bytes, **more: Any) -> Case:
    return Case(name, data, "later", "dns", 451, **more)

"""The record of a decision: what was asked, what was found, and the rule that decided. Serialisable as JSON."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, field_serializer

Result = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]
Policy = Literal["none", "quarantine", "reject"]
Verdict = Literal["proven", "refused", "later"]
Method = Literal["dmarc", "arc", "trusted-header"]

Rule = Literal[
    "malformed",  # not a mail that every reader understands alike
    "from",  # not exactly one author
    "dns",  # the DNS did not answer
    "no-policy",  # the author's domain publishes no DMARC policy
    "policy-none",  # its policy is none, and that is not enough here
    "dmarc",  # an aligned pass
    "arc",  # a trusted sealer saw an aligned pass
    "not-aligned",  # nothing aligned passed
    "trusted-header",  # the operator's own server saw an aligned pass
    "untrusted-peer",  # not from that server
    "no-result",  # it says nothing usable
]


class Evidence(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(frozen=True)


class EnvelopeEvidence(Evidence):
    """What the SMTP session said."""

    peer: str
    helo: str
    mail_from: str


class DmarcEvidence(Evidence):
    """The policy of the author's domain (RFC 9989 §4.10)."""

    asked: tuple[str, ...]
    """Names of the tree walk, in order."""
    record_at: str | None = None
    """The domain whose record applies; None: there is none."""
    record: str | None = None
    """Its text."""
    organizational_domain: str
    subdomain_exists: bool | None = None
    """None: it made no difference."""
    policy: Policy | None = None
    """What applies to this mail, `sp`, `np` and `t` considered; None: DMARC does not apply."""
    strict_dkim: bool
    strict_spf: bool


class SpfEvidence(Evidence):
    """One check of SPF (RFC 7208)."""

    identity: Literal["mailfrom", "helo"]
    domain: str
    result: Result
    detail: str
    aligned: bool | None = None
    """None: the DNS did not answer, so it is not known."""


class DkimEvidence(Evidence):
    """One signature (RFC 6376)."""

    domain: str
    """Empty: unreadable."""
    selector: str
    algorithm: str
    result: Result
    detail: str
    aligned: bool | None = None
    """None: not known, because the DNS did not answer or nothing depends on it."""
    signed: tuple[str, ...]
    """Names of the headers that it covers."""
    key_bits: int | None = None
    weak_key: bool = False
    """RSA of less than 2048 bits."""


class ArcEvidence(Evidence):
    """The chain of ARC sets (RFC 8617)."""

    result: Result
    detail: str
    sealers: tuple[str, ...]
    """`d=` of the seals, oldest first."""
    believed: int | None = None
    """The instance whose results count; None: none does."""
    signed: tuple[str, ...] = ()
    """Headers that the newest message signature covers."""


class HeaderEvidence(Evidence):
    """The Authentication-Results of the operator's own server (RFC 8601)."""

    authserv_id: str
    value: str | None = None
    """The header that counts, as it came; None: there is none."""
    dmarc: str | None = None
    """Its `dmarc` result, if it has exactly one."""
    header_from: str | None = None


class Proof(Evidence):
    """Why the author's domain is believed."""

    method: Method
    domain: str
    """The author's domain, as A-labels."""
    detail: str
    """For people: which mechanism passed, for which identifier."""
    signed: frozenset[str] | None = None
    """Header names that the passing signature covers; None when no signature of ours to judge was involved."""
    direct: bool = False
    """It came from a server of the author's domain (aligned SPF), or as the operator's own server says, so nobody on
    the way can have changed what no signature covers."""

    @field_serializer("signed")
    def _in_order(self, names: frozenset[str] | None) -> list[str] | None:
        return None if names is None else sorted(names)


class Record(Evidence):
    """The whole decision."""

    verdict: Verdict
    rule: Rule
    explanation: str
    """One sentence, fit for the answer to the sending server."""
    judged_at: datetime
    author: str | None = None
    """The one address of the From header, its domain as A-labels; None: there is not exactly one."""
    proof: Proof | None = None
    """Only with the verdict `proven`."""
    envelope: EnvelopeEvidence | None = None
    mailbox: str | None = None
    """The mail server that it was fetched from."""
    dmarc: DmarcEvidence | None = None
    spf: tuple[SpfEvidence, ...] = ()
    dkim: tuple[DkimEvidence, ...] = ()
    arc: ArcEvidence | None = None
    header: HeaderEvidence | None = None

    def as_json(self) -> dict[str, JsonValue]:
        """For programs; what there is nothing to say about is left out. `Record.model_validate` reads it."""
        return self.model_dump(mode="json", exclude_none=True)

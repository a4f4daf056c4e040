"""Pure: from what DNS and signatures say to a proof of the author, or a refusal. The last branch refuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from airut_gateway_email.errors import MailLater, MailRefused
from airut_gateway_email.sender_auth.dmarc_record import Policy

Result = Literal["pass", "fail", "none", "temperror", "permerror"]


@dataclass(frozen=True)
class Proof:
    """Why the author's domain is believed."""

    method: Literal["dmarc", "trusted-header"]
    domain: str
    detail: str
    signed: frozenset[str] | None = None
    """Header names that the passing signature covers; None when no signature of ours to judge was involved."""


@dataclass(frozen=True)
class Identifier:
    """One authenticated identifier, or the attempt at one."""

    mechanism: Literal["DKIM", "SPF"]
    domain: str
    result: Result
    detail: str
    aligned: bool | None
    """None: the DNS did not answer, so it is not known."""
    signed: frozenset[str] | None = None


def require_policy(author: str, policy: Policy | None, *, allow_policy_none: bool) -> Policy:
    """The floor: a domain that asks for nothing proves too little.

    Raises:
        MailRefused: no usable policy, or `none` where that is not allowed.
    """
    if policy is None:
        raise MailRefused(f"{author} publishes no valid DMARC policy, so nobody can prove to write from it")
    if policy == "none" and not allow_policy_none:
        raise MailRefused(
            f"the DMARC policy of {author} is none, which protects nobody; "
            "publish p=quarantine or p=reject, or have the operator set allow_policy_none"
        )
    return policy


def decide(author: str, policy: Policy, identifiers: Sequence[Identifier]) -> Proof:
    """DMARC's answer (RFC 9989 §5.3): one aligned pass proves the author's domain.

    Args:
        author: The From domain.
        policy: The policy that applies to it.
        identifiers: What was tried.

    Raises:
        MailRefused: nothing aligned passed.
        MailLater: nothing passed, but something might have, had the DNS answered.
    """
    for found in identifiers:
        if found.result == "pass" and found.aligned:
            detail = f"{found.mechanism} pass for {found.domain}, aligned; policy {policy}"
            return Proof("dmarc", author, detail, found.signed)
    if any(map(_undecided, identifiers)):
        raise MailLater(f"DNS did not answer while the author's domain {author} was checked; try again later")
    raise MailRefused(f"the author's domain {author} is not proven: {'; '.join(_reasons(identifiers))}")


def _undecided(found: Identifier) -> bool:
    """It could have been an aligned pass."""
    return found.aligned is not False and (
        found.result == "temperror" or (found.result == "pass" and found.aligned is None)
    )


def _reasons(identifiers: Sequence[Identifier]) -> list[str]:
    reasons = []
    if not any(found.mechanism == "DKIM" for found in identifiers):
        reasons.append("no DKIM signature")
    for found in identifiers:
        if found.aligned is False:
            reasons.append(f"{found.mechanism} domain {found.domain} is not aligned")
        else:
            reasons.append(f"{found.mechanism} {found.result} for {found.domain} ({found.detail})")
    return reasons

"""Pure: from what DNS and signatures say to a decision. The last branch refuses."""

from collections.abc import Sequence
from dataclasses import dataclass

from airut_mail_auth.record import DkimEvidence, Policy, Proof, Rule, SpfEvidence, Verdict


@dataclass(frozen=True)
class Decision:
    """The outcome; a proof only with the verdict `proven`."""

    verdict: Verdict
    rule: Rule
    explanation: str
    proof: Proof | None = None


def judge_policy(author: str, policy: Policy | None, *, allow_policy_none: bool) -> Decision | Policy:
    """The floor: a domain that asks for nothing proves too little. A policy that is enough comes back."""
    if policy is None:
        return Decision(
            "refused",
            "no-policy",
            f"{author} publishes no valid DMARC policy, so nobody can prove to write from it",
        )
    if policy == "none" and not allow_policy_none:
        return Decision(
            "refused",
            "policy-none",
            f"the DMARC policy of {author} is none, which protects nobody; "
            "publish p=quarantine or p=reject, or have the operator set allow_policy_none",
        )
    return policy


def judge_identifiers(
    author: str, policy: Policy, dkim: Sequence[DkimEvidence], spf: Sequence[SpfEvidence]
) -> Decision:
    """DMARC's answer (RFC 9989 §5.3): one aligned pass proves the author's domain.

    Args:
        author: The From domain.
        policy: The policy that applies to it.
        dkim: The signatures.
        spf: The checks of the envelope.
    """
    signatures = [one for one in dkim if one.result == "pass" and one.aligned]
    senders = [one for one in spf if one.result == "pass" and one.aligned]
    if signatures or senders:
        mechanism, domain = ("DKIM", signatures[0].domain) if signatures else ("SPF", senders[0].domain)
        detail = f"{mechanism} pass for {domain}, aligned; policy {policy}"
        covered = frozenset(signatures[0].signed) if signatures else None
        proof = Proof(method="dmarc", domain=author, detail=detail, signed=covered, direct=bool(senders))
        return Decision("proven", "dmarc", f"the author's domain {author} is proven: {detail}", proof)
    if any(map(_undecided, dkim)) or any(map(_undecided, spf)):
        return undecided(f"DNS did not answer while the author's domain {author} was checked")
    reasons = "; ".join(_reasons(dkim, spf))
    return Decision("refused", "not-aligned", f"the author's domain {author} is not proven: {reasons}")


def undecided(why: str) -> Decision:
    """Not now."""
    return Decision("later", "dns", f"{why}; try again later")


def _undecided(one: DkimEvidence | SpfEvidence) -> bool:
    """It could have been an aligned pass."""
    return one.aligned is not False and (
        one.result == "temperror" or (one.result == "pass" and one.aligned is None)
    )


def _reasons(dkim: Sequence[DkimEvidence], spf: Sequence[SpfEvidence]) -> list[str]:
    reasons = [_reason("DKIM", one) for one in dkim] or ["no DKIM signature"]
    return reasons + [_reason("SPF", one) for one in spf]


def _reason(mechanism: str, one: DkimEvidence | SpfEvidence) -> str:
    if one.aligned is False:
        return f"{mechanism} domain {one.domain} is not aligned"
    return f"{mechanism} {one.result} for {one.domain or '?'} ({one.detail})"

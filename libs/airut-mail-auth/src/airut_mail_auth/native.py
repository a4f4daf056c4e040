"""The author proven here: DKIM or SPF with DMARC alignment, else what a believed ARC sealer saw."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airut_mail_auth.arc.chain import validate_chain
from airut_mail_auth.arc.trust import judge_chain
from airut_mail_auth.dkim.check import SignatureChecker
from airut_mail_auth.dkim.signatures import Signature, read_signatures
from airut_mail_auth.dmarc.policy import Alignment, AuthorPolicy, Lookups, find_policy
from airut_mail_auth.message import RawMail
from airut_mail_auth.record import ArcEvidence, DkimEvidence, Proof, SpfEvidence
from airut_mail_auth.resolver import DnsTemporary, Resolver
from airut_mail_auth.rules import Rules
from airut_mail_auth.spf.check import check_host, spf_identity
from airut_mail_auth.verdict import Decision, judge_identifiers, judge_policy, undecided

MAX_SIGNATURES = 10
"""That may be aligned; each costs up to nine lookups. Further ones are not looked at."""
MAX_REPORTED = 20
"""Signatures in a record."""


@dataclass(frozen=True)
class Envelope:
    """What the SMTP session says about a mail."""

    peer: str
    """IP address of the client."""
    helo: str
    mail_from: str
    """Empty or `<>` for the null sender."""


@dataclass(frozen=True)
class Mailbox:
    """The mail was fetched from a mailbox of the operator, so nothing is known about who delivered it: no SPF. Its
    server is the one whose header may be believed."""

    host: str


@dataclass(frozen=True)
class Circumstances:
    """What a mail is judged by, besides its own bytes."""

    envelope: Envelope | Mailbox | None
    """None: SPF is not evaluated, and no header is believed."""
    resolver: Resolver
    rules: Rules
    now: datetime
    """The time against which signatures are held; aware."""


async def judge_natively(mail: RawMail, author: str, given: Circumstances) -> tuple[Decision, dict[str, Any]]:
    """Decide about a mail with an author of this domain, and tell what was found as fields of a `Record`."""
    lookups, rules = Lookups(given.resolver), given.rules
    try:
        policy = await find_policy(author, lookups)
    except DnsTemporary as error:
        return undecided(f"the DMARC policy of {author} cannot be read now ({error})"), {}
    evidence: dict[str, Any] = {"dmarc": policy.evidence()}
    applied = judge_policy(author, policy.policy, allow_policy_none=rules.allow_policy_none)
    if isinstance(applied, Decision):
        return applied, evidence
    checker = SignatureChecker(mail, lookups.texts)
    dkim, spf = await asyncio.gather(
        _dkim(read_signatures(mail, given.now), checker, policy, lookups),
        _spf(given.envelope, policy, lookups),
    )
    evidence |= {"dkim": dkim, "spf": spf}
    decision = judge_identifiers(author, applied, dkim, spf)
    if decision.verdict == "proven" or not rules.arc_sealers:
        return decision, evidence
    arc, proof = await _arc(mail, author, checker, given)
    evidence["arc"] = arc
    return _with_arc(author, decision, arc, proof), evidence


def _with_arc(author: str, decision: Decision, arc: ArcEvidence, proof: Proof | None) -> Decision:
    if proof is not None:
        return Decision("proven", "arc", f"the author's domain {author} is proven: {proof.detail}", proof)
    if arc.result == "temperror":
        return undecided(f"DNS did not answer while the ARC chain was checked for {author}")
    if arc.result == "none":
        return decision
    return Decision(decision.verdict, decision.rule, f"{decision.explanation}; ARC: {arc.detail}")


async def _dkim(
    signatures: Sequence[Signature], checker: SignatureChecker, policy: AuthorPolicy, lookups: Lookups
) -> tuple[DkimEvidence, ...]:
    """Every signature; those that cannot be aligned prove nothing and are not verified."""
    strict = policy.record.strict_dkim
    alignment = Alignment(policy, lookups)
    evidence: list[DkimEvidence] = []
    tried = 0
    for signature in signatures[:MAX_REPORTED]:
        found = _unverified(signature)
        if signature.problem is None:
            if not alignment.possible(signature.domain, strict=strict):
                found = found.model_copy(update={"aligned": False})
            elif tried < MAX_SIGNATURES:
                tried += 1
                found = await _verified(found, signature, checker, alignment, strict=strict)
        evidence.append(found)
        if found.result == "pass" and found.aligned:
            break
    return tuple(evidence)


def _unverified(signature: Signature) -> DkimEvidence:
    return DkimEvidence(
        domain=signature.domain,
        selector=signature.selector,
        algorithm=signature.tags.get("a", ""),
        result="none" if signature.problem is None else "permerror",
        detail=signature.problem or "not verified",
        aligned=None,
        signed=signature.signed,
    )


async def _verified(
    found: DkimEvidence,
    signature: Signature,
    checker: SignatureChecker,
    alignment: Alignment,
    *,
    strict: bool,
) -> DkimEvidence:
    aligned = await alignment.holds(signature.domain, strict=strict)
    if aligned is False:
        return found.model_copy(update={"aligned": False})
    result, detail, key = await checker.check(signature)
    return found.model_copy(
        update={
            "result": result,
            "detail": detail,
            "aligned": aligned,
            "key_bits": key.bits if key else None,
            "weak_key": bool(key and key.weak),
        }
    )


async def _spf(
    envelope: Envelope | Mailbox | None, policy: AuthorPolicy, lookups: Lookups
) -> tuple[SpfEvidence, ...]:
    if not isinstance(envelope, Envelope):
        return ()
    sender = spf_identity(envelope.mail_from, envelope.helo)
    if sender is None:
        return ()
    aligned = await Alignment(policy, lookups).holds(sender.domain, strict=policy.record.strict_spf)
    found = SpfEvidence(
        identity=sender.kind, domain=sender.domain, result="none", detail="not evaluated", aligned=aligned
    )
    if aligned is False:
        return (found,)
    checked = await check_host(envelope.peer, sender, envelope.helo, lookups.resolver)
    return (found.model_copy(update={"result": checked.result, "detail": checked.detail}),)


async def _arc(
    mail: RawMail, author: str, checker: SignatureChecker, given: Circumstances
) -> tuple[ArcEvidence, Proof | None]:
    """The chain, if its newest sealer is believed: others cost no lookup."""
    chain = await validate_chain(mail, checker, believed=given.rules.arc_sealers)
    return judge_chain(mail, author, chain, given.rules.arc_sealers, given.now)

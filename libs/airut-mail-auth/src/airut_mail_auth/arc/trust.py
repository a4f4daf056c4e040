"""Pure: what a valid chain proves about the author (RFC 8617 §7.2.1, §9.3). Only sealers that the operator named are
believed, and only as far down as every later one was named, too: a later handler can have changed the mail."""

from collections.abc import Sequence
from datetime import datetime

from airut_mail_auth.arc.chain import Chain
from airut_mail_auth.arc.sets import ArcSet
from airut_mail_auth.authres.grammar import BadResults, parse_results
from airut_mail_auth.authres.trusted import dmarc_result
from airut_mail_auth.dkim.signatures import coverage_problem, time_problem
from airut_mail_auth.message import RawMail
from airut_mail_auth.record import ArcEvidence, Proof


def judge_chain(
    mail: RawMail, author_domain: str, chain: Chain, sealers: Sequence[str], now: datetime
) -> tuple[ArcEvidence, Proof | None]:
    """The evidence, and a proof of the author if a believed sealer saw one."""
    names = tuple(item.seal.domain for item in chain.sets)
    evidence = ArcEvidence(result=chain.result, detail=chain.detail, sealers=names, believed=None)
    if chain.result != "pass":
        return evidence, None
    newest = chain.sets[-1].message
    problem = coverage_problem(mail, newest.signed) or time_problem(newest.tags, newest.signed, mail, now)
    if problem is not None:
        return evidence.model_copy(update={"detail": f"the newest message signature: {problem}"}), None
    trusted = frozenset(sealers)
    for item in reversed(chain.sets):
        if not {item.seal.domain, item.message.domain} <= trusted:
            why = f"{item.seal.domain} is not among the sealers that are believed"
            return evidence.model_copy(update={"detail": why}), None
        if _saw_a_pass(item, author_domain):
            signed = tuple(dict.fromkeys(newest.signed))
            proof = Proof(
                method="arc",
                domain=author_domain,
                detail=f"dmarc=pass for {author_domain} seen by {item.seal.domain}, chain of {len(names)} valid",
                signed=frozenset(signed),
            )
            return evidence.model_copy(update={"believed": item.instance, "signed": signed}), proof
    why = f"no sealer that is believed saw dmarc=pass for {author_domain}"
    return evidence.model_copy(update={"detail": why}), None


def _saw_a_pass(item: ArcSet, author_domain: str) -> bool:
    try:
        return dmarc_result(parse_results(item.payload)) == ("pass", author_domain)
    except BadResults:
        return False

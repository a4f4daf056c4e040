"""The one entry: the bytes of a mail and what the SMTP session said -> the record of a decision."""

import asyncio
from datetime import datetime
from typing import Any

from airut_mail_auth.addresses import BadAddress, parse_from
from airut_mail_auth.authres.trusted import TrustedServer, judge_believed, judge_header
from airut_mail_auth.message import BadMessage, RawMail, parse_message
from airut_mail_auth.native import Circumstances, Envelope, Mailbox, judge_natively
from airut_mail_auth.record import EnvelopeEvidence, Record
from airut_mail_auth.resolver import Resolver
from airut_mail_auth.rules import Rules
from airut_mail_auth.verdict import Decision, undecided

SECONDS = 40.0
"""For one mail; then the verdict is `later`."""


async def verify_bytes(
    data: bytes, envelope: Envelope | Mailbox | None, resolver: Resolver, rules: Rules, *, now: datetime
) -> Record:
    """Who sent this mail? Never raises for what a mail says or a domain publishes.

    Args:
        data: The whole mail as it came, CRLF line ends.
        envelope: What the SMTP session said, or the operator's mailbox that the mail was fetched from: then SPF is not
            evaluated. None: nor is any header believed.
        resolver: Whom to ask.
        rules: What is believed.
        now: The time against which signatures are held; aware.
    """
    try:
        mail = parse_message(data)
    except BadMessage as error:
        return _record(Decision("refused", "malformed", f"the mail is malformed: {error}"), envelope, now)
    return await verify(mail, envelope, resolver, rules, now=now)


async def verify(
    mail: RawMail, envelope: Envelope | Mailbox | None, resolver: Resolver, rules: Rules, *, now: datetime
) -> Record:
    """The same for a mail that `parse_message` has split."""
    try:
        author = parse_from(mail.first("from") or "")
    except BadAddress as error:
        why = f"the From header must name exactly one author: {error}"
        return _record(Decision("refused", "from", why), envelope, now)
    given = Circumstances(envelope, resolver, rules, now)
    try:
        async with asyncio.timeout(SECONDS):
            decision, evidence = await _judge(mail, author.domain, given)
    except TimeoutError:
        decision, evidence = undecided(f"{author.domain} could not be checked in time"), {}
    return _record(decision, envelope, now, author=str(author), **evidence)


async def _judge(mail: RawMail, author: str, given: Circumstances) -> tuple[Decision, dict[str, Any]]:
    rules = given.rules
    if rules.mode == "native":
        return await judge_natively(mail, author, given)
    server = TrustedServer(rules.authserv_id or "", rules.peers)
    match given.envelope:
        case Mailbox():
            found = judge_believed(mail, author, server.authserv_id, f"the mailbox at {given.envelope.host}")
        case Envelope():
            found = judge_header(mail, author, given.envelope.peer, server)
        case None:
            found = judge_header(mail, author, "nobody", server)
    if found.proof is None:
        return Decision("refused", found.rule, found.problem), {"header": found.evidence}
    why = f"the author's domain {author} is proven: {found.proof.detail}"
    return Decision("proven", found.rule, why, found.proof), {"header": found.evidence}


def _record(decision: Decision, envelope: Envelope | Mailbox | None, now: datetime, **found: Any) -> Record:
    said = mailbox = None
    if isinstance(envelope, Mailbox):
        mailbox = envelope.host
    elif envelope is not None:
        said = EnvelopeEvidence(peer=envelope.peer, helo=envelope.helo, mail_from=envelope.mail_from)
    return Record(
        verdict=decision.verdict,
        rule=decision.rule,
        explanation=decision.explanation,
        proof=decision.proof,
        judged_at=now,
        envelope=said,
        mailbox=mailbox,
        **found,
    )

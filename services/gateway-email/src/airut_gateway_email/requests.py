"""Pure: an understood mail -> the task request that goes on the bus."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from airut_common.config.addresses import SenderRule
from airut_common.contracts.v1 import EmailEvidence, EmailRoute, TaskRequest
from airut_gateway_email.content.mail import Attachment
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.reading import MAX_TEXT_CHARACTERS, Reading, StoredFile
from airut_gateway_email.recipients import Recipient
from airut_gateway_email.sender_auth import Envelope, Mailbox, Proof
from airut_gateway_email.spool import SpoolFile
from airut_gateway_email.threads import references_for_answer
from airut_mail_auth import Record
from airut_mail_auth.addresses import Address

MAX_RECORD_BYTES = 16 * 1024
MAX_EXPLANATION = 1000
MAX_REQUEST_BYTES = 900 * 1024
"""A message on the bus has 1 MiB at most."""


@dataclass(frozen=True)
class Arrival:
    """A mail as an SMTP session delivered it, or as it lay in a mailbox."""

    envelope: Envelope | Mailbox
    recipient: Recipient
    data: bytes | SpoolFile
    received_at: datetime


@dataclass(frozen=True)
class Understood:
    """What was found out about a mail."""

    mail: RawMail
    author: Address
    proof: Proof
    record: Record
    """How that was decided."""
    rule: SenderRule
    """Why he may give work."""
    conversation: str | None
    reading: Reading[Attachment | StoredFile]


def build_request(arrival: Arrival, found: Understood) -> TaskRequest:
    """The request, without its attachments.

    Raises:
        MailRefused: its text is too long for the bus.
    """
    recipient, author = arrival.recipient, str(found.author)
    if len(found.reading.text) > MAX_TEXT_CHARACTERS:
        raise _too_long()
    in_reply_to, references = references_for_answer(found.mail)
    request = TaskRequest(
        id=request_id(recipient.repo, found.author, found.mail, found.proof),
        repo=recipient.repo,
        channel="email",
        conversation=found.conversation,
        sender=author,
        evidence=EmailEvidence(
            method=found.proof.method,
            domain=found.proof.domain,
            detail=found.proof.detail,
            rule=found.rule.pattern,
            group=found.rule.group,
            record=_bounded(found.record).as_json(),
        ),
        subject=found.reading.subject,
        text=found.reading.text,
        model=recipient.model,
        # Back to the proven author alone, whatever Reply-To and Cc say (row 52).
        route=EmailRoute(
            recipient=author,
            from_address=recipient.address,
            subject=found.reading.subject,
            in_reply_to=in_reply_to,
            references=references,
            question=found.reading.question,
        ),
        received_at=arrival.received_at,
    )
    if len(request.encode()) > MAX_REQUEST_BYTES:
        raise _too_long()
    return request


def request_id(repo: str, author: Address, mail: RawMail, proof: Proof) -> str:
    """32 hex digits, the same for each delivery of the same mail, whatever path it took.

    Of Message-ID and Date only what the author's signature covers counts, and of white space nothing, so that a
    replayed mail cannot become a new one by another Message-ID, or by a space that leaves the signature good.
    """
    names = [name for name in ("message-id", "date") if proof.signed is None or name in proof.signed]
    covered = [" ".join((mail.first(name) or "").split()) for name in names]
    parts = [repo, str(author), *covered, mail.body_sha256]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


def _bounded(record: Record) -> Record:
    """What of a decision goes on the bus: all of it, unless the mail's author made it very long. The log has all."""
    if len(record.model_dump_json()) <= MAX_RECORD_BYTES:
        return record
    return Record(
        verdict=record.verdict,
        rule=record.rule,
        explanation=f"{record.explanation[:MAX_EXPLANATION]} (the evidence is too long to be shown; the log has it)",
        judged_at=record.judged_at,
        author=record.author,
    )


def _too_long() -> MailRefused:
    return MailRefused(
        "the text of the mail is too long; send it as an attached file", code=552, status="5.3.4"
    )

"""The library's verdict in the terms of SMTP: a proof, or the answer to the sending server."""

from datetime import datetime

import structlog

from airut_common.config.models import SenderAuthConfig
from airut_gateway_email.errors import MailLater, MailRefused
from airut_mail_auth import Envelope, Mailbox, Proof, RawMail, Record, Resolver, Rules, verify

log = structlog.get_logger()


async def prove(
    mail: RawMail,
    envelope: Envelope | Mailbox,
    resolver: Resolver,
    settings: SenderAuthConfig,
    *,
    now: datetime,
) -> tuple[Proof, Record]:
    """Prove that the author's domain sent this mail; the whole record goes to the log, whatever it says.

    Raises:
        MailRefused: it is not proven.
        MailLater: the DNS did not answer.
    """
    record = await verify(mail, envelope, resolver, rules_of(settings), now=now)
    log.info("mail_judged", record=record.as_json())
    if record.verdict == "later":
        raise MailLater(record.explanation)
    if record.verdict == "refused" or record.proof is None:
        raise MailRefused(record.explanation, status="5.6.0" if record.rule == "from" else "5.7.1")
    return record.proof, record


def rules_of(settings: SenderAuthConfig) -> Rules:
    """The part of the configuration that decides."""
    return Rules.model_validate(settings.model_dump(exclude={"resolver"}))

"""Pure: what SMTP says about a mail and a mailbox does not: for whom it is, whether it is too large or too old."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from airut_common.config.models import RepoConfig
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.imap_session import Listed
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.recipients import Recipient, listed_recipients

LONGEST_AGE = timedelta(days=7)
"""As long as a DKIM signature counts."""


def longest_age(conversation_days: int) -> timedelta:
    """How old a mail may be. Never older than the orchestrator remembers its request, or it could run twice."""
    return min(LONGEST_AGE, timedelta(days=conversation_days))


def check_listed(listed: Listed, max_bytes: int, age: timedelta, now: datetime) -> None:
    """Before anything of the mail is fetched.

    Raises:
        MailRefused: it is too large, or has lain there for too long.
    """
    if listed.size_bytes > max_bytes:
        raise MailRefused(f"the mail is larger than {max_bytes} bytes", code=552, status="5.3.4")
    _check_age(listed.arrived_at, age, now)


def check_sent(mail: RawMail, age: timedelta, now: datetime) -> None:
    """By its own Date: a mailbox that was restored from a copy may call all its mails new.

    Raises:
        MailRefused: it was sent too long ago.
    """
    try:
        sent = parsedate_to_datetime(mail.first("date") or "")
    except (ValueError, TypeError, OverflowError):
        return  # the author's proof decides about mails without a good Date
    _check_age(sent if sent.tzinfo else sent.replace(tzinfo=UTC), age, now)


def recipients_of(mail: RawMail, repos: Mapping[str, RepoConfig]) -> list[Recipient]:
    """The repositories in To and Cc, each once.

    Raises:
        MailRefused: there is none.
    """
    found: dict[str, Recipient] = {}
    for name in ("to", "cc"):
        for recipient in listed_recipients(mail.first(name) or "", repos):
            found.setdefault(recipient.repo, recipient)
    if not found:
        raise MailRefused("the mail names no repository's address in To or Cc", status="5.1.1")
    return list(found.values())


def _check_age(then: datetime, age: timedelta, now: datetime) -> None:
    if then < now - age:
        raise MailRefused(f"the mail is older than {age.days} days", status="5.7.1")

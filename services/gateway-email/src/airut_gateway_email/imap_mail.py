"""Pure: what SMTP says about a mail and a mailbox does not: for whom it is, whether it is too large or too old."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from airut_common.config.models import RepoConfig
from airut_gateway_email.age import check_age
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.imap_session import Listed
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.recipients import Recipient, listed_recipients


def check_listed(listed: Listed, max_bytes: int, age: timedelta, now: datetime) -> None:
    """Before anything of the mail is fetched.

    Raises:
        MailRefused: it is too large, or has lain there for too long.
    """
    if listed.size_bytes > max_bytes:
        raise MailRefused(f"the mail is larger than {max_bytes} bytes", code=552, status="5.3.4")
    check_age(listed.arrived_at, age, now)


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

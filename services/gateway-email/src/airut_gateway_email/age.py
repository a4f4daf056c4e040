"""Pure: how old a mail may be. An old one is a replay, or could run twice."""

from datetime import datetime, timedelta

from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import RawMail
from airut_mail_auth.date import date_of

LONGEST_AGE = timedelta(days=7)
"""As long as a DKIM signature counts."""


def longest_age(conversation_days: int) -> timedelta:
    """How old a mail may be. Never older than the orchestrator remembers its request, or it could run twice."""
    return min(LONGEST_AGE, timedelta(days=conversation_days))


def check_sent(mail: RawMail, age: timedelta, now: datetime) -> None:
    """By its own Date: whoever has a copy may send it again, and a mailbox that was restored calls all its mails new.

    Raises:
        MailRefused: it was sent too long ago.
    """
    sent = date_of(mail)
    if sent is not None:  # the author's proof decides about mails without a good Date
        check_age(sent, age, now)


def check_age(then: datetime, age: timedelta, now: datetime) -> None:
    """Raises MailRefused: it is older."""
    if then < now - age:
        raise MailRefused(f"the mail is older than {age.days} days", status="5.7.1")

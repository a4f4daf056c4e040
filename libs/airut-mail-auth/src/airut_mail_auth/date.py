"""Pure: when a mail says that it was written."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from airut_mail_auth.message import RawMail


def date_of(mail: RawMail) -> datetime | None:
    """The Date field, without a zone taken for UTC; None where it is missing or cannot be read."""
    try:
        date = parsedate_to_datetime(mail.first("date") or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)

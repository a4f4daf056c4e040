"""A mail split by `airut_mail_auth`; what it calls ambiguous is refused here in the terms of SMTP."""

from airut_gateway_email.errors import MailRefused
from airut_mail_auth.message import BadMessage, RawMail, parse_message

__all__ = ["RawMail", "parse_raw_mail"]


def parse_raw_mail(data: bytes) -> RawMail:
    """Split a mail.

    Raises:
        MailRefused: it is ambiguous, or it is no mail.
    """
    try:
        return parse_message(data)
    except BadMessage as error:
        raise MailRefused(f"the mail is malformed: {error}", code=554, status="5.6.0") from None

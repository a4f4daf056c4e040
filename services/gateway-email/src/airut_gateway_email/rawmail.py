"""A mail split by `airut_mail_auth`; what it calls ambiguous is refused here in the terms of SMTP."""

import asyncio

from airut_gateway_email.errors import MailRefused
from airut_mail_auth.message import BadMessage, RawMail, Source, parse_message

__all__ = ["RawMail", "parse_arrived", "parse_raw_mail"]


def parse_raw_mail(data: bytes | Source) -> RawMail:
    """Split a mail.

    Raises:
        MailRefused: it is ambiguous, or it is no mail.
    """
    try:
        return parse_message(data)
    except BadMessage as error:
        raise MailRefused(f"the mail is malformed: {error}", code=554, status="5.6.0") from None


async def parse_arrived(data: bytes | Source) -> RawMail:
    """The same; what does not lie in memory is read in a thread."""
    return parse_raw_mail(data) if isinstance(data, bytes) else await asyncio.to_thread(parse_raw_mail, data)

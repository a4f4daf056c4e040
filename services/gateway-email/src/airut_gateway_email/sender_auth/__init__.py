"""Who wrote a mail, decided by `airut_mail_auth`, in the terms of SMTP."""

from airut_gateway_email.sender_auth.proving import prove
from airut_mail_auth import Envelope, Mailbox, Proof
from airut_mail_auth.dns import DnsResolver as Resolver

__all__ = ["Envelope", "Mailbox", "Proof", "Resolver", "prove"]

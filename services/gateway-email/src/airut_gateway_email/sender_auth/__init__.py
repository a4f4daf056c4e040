"""Who wrote a mail, and whether that address may give work. The first is decided by `airut_mail_auth`."""

from airut_gateway_email.sender_auth.proving import prove
from airut_mail_auth import Envelope, Mailbox, Proof
from airut_mail_auth.dns import DnsResolver as Resolver

__all__ = ["Envelope", "Mailbox", "Proof", "Resolver", "prove"]

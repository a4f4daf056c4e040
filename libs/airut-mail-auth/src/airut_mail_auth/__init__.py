"""Who sent a mail: SPF, DKIM, DMARC, ARC and Authentication-Results, decided with all evidence.

`verify_bytes` is the entry. Decisions are pure (`verdict.py`, `dkim/signatures.py`, `dmarc/record.py`, `arc/trust.py`,
`authres/`); the DNS is behind the protocol `Resolver`.
"""

from airut_mail_auth.addresses import Address, BadAddress
from airut_mail_auth.message import BadMessage, RawMail, parse_message
from airut_mail_auth.native import Envelope, Mailbox
from airut_mail_auth.record import Proof, Record
from airut_mail_auth.resolver import DnsTemporary, Resolver
from airut_mail_auth.rules import Rules
from airut_mail_auth.verify import verify, verify_bytes

__all__ = [
    "Address",
    "BadAddress",
    "BadMessage",
    "DnsTemporary",
    "Envelope",
    "Mailbox",
    "Proof",
    "RawMail",
    "Record",
    "Resolver",
    "Rules",
    "parse_message",
    "verify",
    "verify_bytes",
]

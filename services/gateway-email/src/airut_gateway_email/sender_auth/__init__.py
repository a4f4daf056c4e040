"""Who wrote a mail: DKIM, SPF and DMARC decided here, or a result header of the operator's own mail server.

`verdict.py`, `dmarc_record.py`, `dkim_signature.py`, `allowlist.py` and `trusted_header.py` are pure; `dns.py`,
`dmarc_walk.py`, `dkim_check.py` and `spf_check.py` have effects; `native.py` joins them.
"""

from airut_gateway_email.sender_auth.dns import Resolver
from airut_gateway_email.sender_auth.native import Envelope, authenticate
from airut_gateway_email.sender_auth.trusted_header import read_trusted_header
from airut_gateway_email.sender_auth.verdict import Proof

__all__ = ["Envelope", "Proof", "Resolver", "authenticate", "read_trusted_header"]

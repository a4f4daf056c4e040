"""DKIM verification with dkimpy: keys are fetched first, then a thread does the arithmetic."""

# mypy: allow-untyped-calls
# (dkimpy has no types)

import asyncio
import re

import dkim

from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.sender_auth.dkim_signature import Signature, key_problem
from airut_gateway_email.sender_auth.dmarc_walk import TextLookup
from airut_gateway_email.sender_auth.dns import DnsTemporary
from airut_gateway_email.sender_auth.verdict import Result

SMALLEST_RSA_BITS = 1024
_SPACES = re.compile(rb"[ \t]+")


async def check_signature(mail: RawMail, signature: Signature, texts: TextLookup) -> tuple[Result, str]:
    """The result of one signature, and a reason for people."""
    if signature.problem is not None:
        return "permerror", signature.problem
    try:
        records = [record for record in await texts(signature.key_name) if record.strip()]
    except DnsTemporary as error:
        return "temperror", str(error)
    if len(records) != 1:
        return "permerror", "no key is published" if not records else "several keys are published"
    problem = key_problem(records[0], signature)
    if problem is not None:
        return "permerror", problem
    return await asyncio.to_thread(_verify, mail, signature, records[0])


def _verify(mail: RawMail, signature: Signature, record: bytes) -> tuple[Result, str]:
    def key(_name: bytes, timeout: int) -> bytes:  # noqa: ARG001  dkimpy passes it by name
        return record

    try:
        verifier = dkim.DKIM(mail.data, minkey=SMALLEST_RSA_BITS)
        if signature.relaxed_body:
            verifier.body = relaxed_body(verifier.body)
        valid = verifier.verify(signature.index, dnsfunc=key)
    except dkim.DKIMException as error:
        return (
            ("fail", "the body was changed") if "body hash" in str(error) else ("permerror", "not verifiable")
        )
    except Exception:  # noqa: BLE001  whatever a forged signature makes dkimpy trip over is no pass
        return "permerror", "not verifiable"
    return ("pass", "") if valid else ("fail", "the signature does not match")


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4 without the final step, in linear time.

    dkimpy does the same with an expression that takes quadratic time on lines of spaces, while no other code of this
    process can run. After this its expression finds nothing left to do.
    """
    return b"\r\n".join(_SPACES.sub(b" ", line.rstrip(b" \t")) for line in body.split(b"\r\n"))

"""DKIM verification with dkimpy: keys are fetched first, then a thread does the arithmetic."""

# mypy: allow-untyped-calls
# (dkimpy has no types)

import asyncio
import base64
import hashlib

import dkim

from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.sender_auth.dkim_signature import Signature, key_problem
from airut_gateway_email.sender_auth.dmarc_walk import TextLookup
from airut_gateway_email.sender_auth.dns import DnsTemporary
from airut_gateway_email.sender_auth.verdict import Result

SMALLEST_RSA_BITS = 1024


class DkimChecker:
    """Verifies signatures of one mail; its body is hashed once for each form, however many signatures there are."""

    def __init__(self, mail: RawMail, texts: TextLookup) -> None:
        self._mail = mail
        self._texts = texts
        self._body_hashes: dict[bool, bytes] = {}

    async def check(self, signature: Signature) -> tuple[Result, str]:
        """The result of one signature, and a reason for people."""
        if signature.problem is not None:
            return "permerror", signature.problem
        try:
            records = [record for record in await self._texts(signature.key_name) if record.strip()]
        except DnsTemporary as error:
            return "temperror", str(error)
        if len(records) != 1:
            return "permerror", "no key is published" if not records else "several keys are published"
        problem = key_problem(records[0], signature)
        if problem is not None:
            return "permerror", problem
        return await asyncio.to_thread(self._verify, signature, records[0])

    def _verify(self, signature: Signature, record: bytes) -> tuple[Result, str]:
        def key(_name: bytes, timeout: int) -> bytes:  # noqa: ARG001  dkimpy passes it by name
            return record

        try:
            verifier = dkim.DKIM(self._mail.head + b"\r\n\r\n", minkey=SMALLEST_RSA_BITS)
            tags, signed, headers = verifier.verify_headerprep(signature.index)
            if base64.b64decode(tags[b"bh"]) != self._body_hash(relaxed=signature.relaxed_body):
                return "fail", "the body was changed"
            # Without `bh` dkimpy leaves the body alone: its own way of bringing it into form takes quadratic time on
            # lines of spaces, and no other code of this process runs meanwhile.
            without_body = {name: value for name, value in tags.items() if name != b"bh"}
            valid = verifier.verify_sig(without_body, signed, headers[signature.index], key)
        except Exception:  # noqa: BLE001  whatever a forged signature makes dkimpy trip over is no pass
            return "permerror", "not verifiable"
        return ("pass", "") if valid else ("fail", "the signature does not match")

    def _body_hash(self, *, relaxed: bool) -> bytes:
        if relaxed not in self._body_hashes:
            form = relaxed_body if relaxed else simple_body
            self._body_hashes[relaxed] = hashlib.sha256(form(self._mail.body)).digest()
        return self._body_hashes[relaxed]


def simple_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.3: without empty lines at the end."""
    return body.rstrip(b"\r\n") + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4: also without white space at line ends, runs of it one space. Linear in time and memory."""
    body = body.replace(b"\t", b" ")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    body = body.replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return body + b"\r\n" if body else b""

"""DKIM verification: the key is fetched first, then a thread does the arithmetic.

dkimpy is what the tests sign with and compare with. It does not verify here: it reads the wall clock instead of being
told the time, takes base64 with anything in it, finds an ARC header by a substring of its text, and brings bodies into
form in quadratic time.
"""

import asyncio
import hashlib
from functools import cache

from airut_mail_auth.body import body_form
from airut_mail_auth.dkim.canonical import signed_header
from airut_mail_auth.dkim.keys import ALGORITHMS, BadKey, Key, read_key
from airut_mail_auth.dkim.signatures import Signature
from airut_mail_auth.message import RawMail
from airut_mail_auth.record import Result
from airut_mail_auth.resolver import DnsTemporary, TextLookup
from airut_mail_auth.tags import decode_base64


class SignatureChecker:
    """Verifies signatures of one mail; its body is hashed once for each form, however many signatures there are."""

    def __init__(self, mail: RawMail, texts: TextLookup) -> None:
        self._mail = mail
        self._texts = texts
        self._body_hash = cache(self._hash_body)

    async def check(self, signature: Signature) -> tuple[Result, str, Key | None]:
        """The result of one signature, a reason for people, and the key if there is one."""
        if signature.problem is not None:
            return "permerror", signature.problem, None
        try:
            key = await self.key(signature)
        except DnsTemporary as error:
            return "temperror", str(error), None
        except BadKey as error:
            return "permerror", str(error), None
        valid, detail = await asyncio.to_thread(self._verify, signature, key)
        return ("pass" if valid else "fail"), detail, key

    async def key(self, signature: Signature) -> Key:
        """The public key of a signature.

        Raises:
            DnsTemporary: the DNS did not answer.
            BadKey: there is none that may be used.
        """
        records = [record for record in await self._texts(signature.key_name) if record.strip()]
        if len(records) != 1:  # §3.6.2.2: with several, the result is undefined
            raise BadKey("no key is published" if not records else "several keys are published")
        kind = ALGORITHMS[signature.tags["a"].lower()]
        return read_key(records[0], kind, domain=signature.domain, identity=signature.identity)

    def _verify(self, signature: Signature, key: Key) -> tuple[bool, str]:
        relaxed_header, relaxed = signature.relaxed
        if decode_base64(signature.tags["bh"]) != self._body_hash(relaxed):
            return False, "the body was changed"
        header = signed_header(self._mail.fields, signature.signed, signature.field, relaxed=relaxed_header)
        if not key.verifies(decode_base64(signature.tags["b"]), header):
            return False, "the signature does not match"
        return True, ""

    def _hash_body(self, relaxed: bool) -> bytes:  # noqa: FBT001  a key of the cache
        if relaxed:
            return bytes.fromhex(self._mail.body_sha256)
        digest = hashlib.sha256()
        for piece in body_form(self._mail.body(), relaxed=False):
            digest.update(piece)
        return digest.digest()

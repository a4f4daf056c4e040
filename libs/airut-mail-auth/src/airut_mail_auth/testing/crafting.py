"""Signatures made to measure: DKIM and ARC headers at a given time, with any tags, right or wrong.

`signing.py` signs with dkimpy, as an independent implementation; this one is for what dkimpy would not write.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from airut_mail_auth.arc.sets import MESSAGE, RESULTS, SEAL
from airut_mail_auth.body import body_form
from airut_mail_auth.dkim.canonical import header_form, signed_header
from airut_mail_auth.message import Field, RawMail, split_message

USUAL = ("from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type", "reply-to")
_SHOWN = {RESULTS: "ARC-Authentication-Results", MESSAGE: "ARC-Message-Signature", SEAL: "ARC-Seal"}


@dataclass(frozen=True)
class Signer:
    """A private key and the name under which its public half is published."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """The value of `a=`."""
        return "rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519-sha256"

    @property
    def record(self) -> str:
        """The TXT record of the public key."""
        return key_record(self.key.public_key())

    def _sign(self, data: bytes) -> str:
        digest = hashlib.sha256(data).digest()
        if isinstance(self.key, rsa.RSAPrivateKey):
            signature = self.key.sign(digest, padding.PKCS1v15(), Prehashed(SHA256()))
        else:
            signature = self.key.sign(digest)
        return base64.b64encode(signature).decode()

    def dkim(
        self,
        data: bytes,
        *,
        at: int,
        headers: Sequence[str] | None = None,
        body: bytes | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """The mail with a DKIM-Signature on top.

        Args:
            data: The mail.
            at: `t=`, seconds.
            headers: `h=`; by default those of `USUAL` that the mail has.
            body: What to hash instead of the mail's body.
            tags: Tags to change, add or, with None, leave out before signing.
        """
        mail = split_message(data)
        chosen = usual_headers(mail) if headers is None else headers
        base = {"v": "1", "a": self.algorithm, "c": "relaxed/relaxed", "d": self.domain, "s": self.selector}
        wanted = base | {"t": str(at), "h": ":".join(chosen)} | dict(tags or {})
        return self._signature("DKIM-Signature", mail, wanted, body) + data

    def arc(
        self,
        data: bytes,
        *,
        at: int,
        results: str,
        cv: str | None = None,
        headers: Sequence[str] | None = None,
        seal_tags: Mapping[str, str | None] | None = None,
        message_tags: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """The mail with one more ARC set on top, sealed over those that it has.

        Args:
            data: The mail.
            at: `t=`, seconds.
            results: What this handler found, an Authentication-Results value.
            cv: What it says about the chain so far; by default what a sound handler says.
            headers: `h=` of the message signature.
            seal_tags: As `tags` of `dkim`.
            message_tags: As `tags` of `dkim`.
        """
        mail = split_message(data)
        count = sum(field.name == SEAL for field in mail.fields)
        base = {"i": str(count + 1), "a": self.algorithm, "d": self.domain, "s": self.selector, "t": str(at)}
        lines = f"ARC-Authentication-Results: i={count + 1}; {results}\r\n".encode()
        chosen = usual_headers(mail) if headers is None else headers
        wanted = base | {"c": "relaxed/relaxed", "h": ":".join(chosen)} | dict(message_tags or {})
        lines = self._signature("ARC-Message-Signature", mail, wanted, None) + lines
        sealed = base | {"cv": cv or ("pass" if count else "none")} | dict(seal_tags or {})
        return self._seal(split_message(lines + data), sealed) + lines + data

    def _signature(
        self, name: str, mail: RawMail, wanted: Mapping[str, str | None], body: bytes | None
    ) -> bytes:
        header, _, form = (wanted.get("c") or "simple/simple").partition("/")
        shaped = b"".join(body_form(mail.body() if body is None else [body], relaxed=form == "relaxed"))
        hashed = base64.b64encode(hashlib.sha256(shaped).digest())
        raw = _header(name, {"bh": hashed.decode()} | dict(wanted))
        own = Field(name.lower(), "", raw)
        names = [one.strip().lower() for one in (wanted.get("h") or "").split(":")]
        signature = self._sign(signed_header(mail.fields, names, own, relaxed=header == "relaxed"))
        return raw + signature.encode() + b"\r\n"

    def _seal(self, mail: RawMail, wanted: Mapping[str, str | None]) -> bytes:
        raw = _header(_SHOWN[SEAL], wanted)
        by_name = {
            name: [one for one in mail.fields if one.name == name] for name in (RESULTS, MESSAGE, SEAL)
        }
        lines = [
            header_form(by_name[name][-number].raw, relaxed=True)
            for number in range(1, len(by_name[MESSAGE]) + 1)
            for name in (RESULTS, MESSAGE, SEAL)
            if number <= len(by_name[name])
        ]
        lines.append(header_form(raw, relaxed=True))
        return raw + self._sign(b"\r\n".join(lines)).encode() + b"\r\n"


def key_record(public: rsa.RSAPublicKey | Ed25519PublicKey) -> str:
    """The TXT record of a public key."""
    if isinstance(public, rsa.RSAPublicKey):
        kind, data = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, data = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(data).decode()}"


def usual_headers(mail: RawMail) -> list[str]:
    """The headers that a sound signer covers, as far as the mail has them."""
    present = {field.name for field in mail.fields}
    return [name for name in USUAL if name in present]


def _header(name: str, tags: Mapping[str, str | None]) -> bytes:
    """A header up to its empty `b=`, one tag a line."""
    text = ";\r\n ".join(f"{tag}={value}" for tag, value in tags.items() if value is not None)
    return f"{name}: {text};\r\n b=".encode()

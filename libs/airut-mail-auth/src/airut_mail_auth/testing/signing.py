"""Domains with keys, and mails signed by them."""

import base64
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from functools import cache
from typing import Any, Literal

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from nacl.signing import SigningKey

from airut_mail_auth.testing.zones import ZoneServer

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]


class SigningDomain:
    """A domain that publishes a key, SPF and DMARC in a zone, and signs mail."""

    def __init__(self, domain: str, *, algorithm: Algorithm = "rsa-sha256", selector: str = "mail") -> None:
        self.domain = domain
        self.algorithm = algorithm
        self.selector = selector
        self._private, public = _rsa_key() if algorithm == "rsa-sha256" else _ed25519_key()
        self.key_record = f"v=DKIM1; k={algorithm.partition('-')[0]}; p={public}"

    def publish(
        self, zone: ZoneServer, *, dmarc: str | None = "v=DMARC1; p=reject", spf: str | None = None
    ) -> None:
        """Put the key and policies in a zone. None leaves a record out."""
        zone.texts(f"{self.selector}._domainkey.{self.domain}", self.key_record)
        if dmarc is not None:
            zone.texts(f"_dmarc.{self.domain}", dmarc)
        if spf is not None:
            zone.texts(self.domain, spf)

    def sign(self, data: bytes, **options: Any) -> bytes:
        """The mail with a signature on top; options as for `dkim.DKIM.sign`."""
        signer: Any = dkim.DKIM(data, signature_algorithm=self.algorithm.encode())  # type: ignore[no-untyped-call]
        header: bytes = signer.sign(
            self.selector.encode(),
            options.pop("domain", self.domain).encode(),
            self._private,
            canonicalize=options.pop("canonicalize", (b"relaxed", b"relaxed")),
            **options,
        )
        return header + data


def plain_mail(
    text: str = "Please fix the greeting.\n",
    *,
    sender: str = "Ada <ada@lovelace.example>",
    to: str = "demo@airut.example",
    subject: str = "The greeting",
    **headers: str,
) -> EmailMessage:
    """A mail as a person's program writes it. Further headers by name, `_` for `-`."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or "x.example")
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


@cache
def _rsa_key() -> tuple[bytes, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, base64.b64encode(public).decode()


def _ed25519_key() -> tuple[bytes, str]:
    key = SigningKey.generate()
    return base64.b64encode(bytes(key)), base64.b64encode(bytes(key.verify_key)).decode()

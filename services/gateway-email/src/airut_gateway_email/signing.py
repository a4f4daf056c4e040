"""DKIM signatures of outgoing mail (RFC 6376; RFC 8463 for Ed25519)."""

import base64
from collections.abc import Callable
from dataclasses import replace

import dkim
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from airut_common.config.dkim import DkimConfig
from airut_common.secrets import Secret
from airut_gateway_email.errors import printable, secret_missing
from airut_gateway_email.outgoing import OutgoingMail

MIN_RSA_BITS = 2048


class CannotSign(Exception):
    """The key is missing or unfit; the text is for the operator."""


class MailSigner:
    """Signs by the configuration as it is at that moment."""

    def __init__(
        self, config: Callable[[], DkimConfig | None], secret: Callable[[str], Secret | None]
    ) -> None:
        self._config = config
        self._secret = secret

    def sign(self, mail: OutgoingMail) -> OutgoingMail:
        """The mail with a signature on top, if its sender's domain is one that we sign for. Takes time: it hashes.

        Raises:
            CannotSign: it should have one and cannot.
        """
        config = self._config()
        if config is None or not _is_below(mail.sender.rpartition("@")[2], config.domain):
            return mail
        secret = self._secret(config.key_secret)
        if secret is None:
            raise CannotSign(secret_missing(config.key_secret))
        algorithm, key = _dkim_key(secret, config.key_secret)
        try:
            header: bytes = dkim.sign(
                mail.data,
                config.selector.encode(),
                config.domain.encode(),
                key,
                canonicalize=(b"relaxed", b"relaxed"),
                signature_algorithm=algorithm,
            )
        except dkim.DKIMException as error:
            raise CannotSign(printable(f"the mail cannot be signed: {error}")) from None
        return replace(mail, data=header + mail.data)


def _is_below(domain: str, parent: str) -> bool:
    return domain.lower() == parent or domain.lower().endswith(f".{parent}")


def _dkim_key(secret: Secret, name: str) -> tuple[bytes, bytes]:
    """The algorithm, and the key as `dkim.sign` takes it."""
    try:
        key = serialization.load_pem_private_key(secret.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        raise CannotSign(f"the secret {name} is no private key in PEM without a password") from None
    if isinstance(key, Ed25519PrivateKey):
        return b"ed25519-sha256", base64.b64encode(key.private_bytes_raw())
    if isinstance(key, RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return b"rsa-sha256", pem
    raise CannotSign(
        f"the secret {name} must be an Ed25519 key, or an RSA key of {MIN_RSA_BITS} bits at least"
    )

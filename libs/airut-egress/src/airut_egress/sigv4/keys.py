"""Key pairs, credential scopes, and the two ways to sign: HMAC (SigV4) and ECDSA (SigV4A).

Source: AWS IAM User Guide, "Create a signed AWS API request", steps 4 and 5 and "AWS Signature Version 4A".
"""

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from airut_egress.swap import Refused

HMAC: Final = "AWS4-HMAC-SHA256"
ECDSA: Final = "AWS4-ECDSA-P256-SHA256"
ALGORITHMS: Final = (HMAC, ECDSA)

_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,128}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{8}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_TERMINATOR: Final = "aws4_request"
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: Hexadecimal digits of the longest DER-encoded P-256 signature; chunk signatures are padded to it.
_DER_WIDTH: Final = 144


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An access key: the surrogate's, which the sandbox holds, or the real one."""

    access_key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    """Of temporary credentials (STS)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for: a day, a service and, except in SigV4A, a region."""

    date: str
    """`YYYYMMDD`, UTC."""
    region: str | None
    service: str

    @property
    def text(self) -> str:
        """As it stands in the credential, without the key id."""
        region = () if self.region is None else (self.region,)
        return "/".join((self.date, *region, self.service, _TERMINATOR))


class Signer(Protocol):
    """Signs and verifies strings with one key pair for one scope."""

    width: int
    """Characters that a chunk's signature takes."""

    def sign(self, text: bytes) -> str:
        """The signature in hexadecimal."""

    def verify(self, text: bytes, signature: str) -> bool:
        """Whether this key pair made the signature."""


class HmacSigner:
    """SigV4: a shared key, derived from the secret for a day, a region and a service."""

    width = 64

    def __init__(self, secret: str, scope: Scope) -> None:
        key = b"AWS4" + secret.encode()
        for part in (scope.date, scope.region or "", scope.service, _TERMINATOR):
            key = hmac.digest(key, part.encode("ascii"), sha256)
        self._key = key

    def sign(self, text: bytes) -> str:
        """HMAC-SHA256."""
        return hmac.digest(self._key, text, sha256).hex()

    def verify(self, text: bytes, signature: str) -> bool:
        """In constant time."""
        return hmac.compare_digest(self.sign(text).encode(), signature.encode())


class EcdsaSigner:
    """SigV4A: a P-256 key derived from the secret; a signature is DER in hexadecimal, and differs each time."""

    width = _DER_WIDTH

    def __init__(self, pair: KeyPair) -> None:
        self._key = derive_p256(pair)

    def sign(self, text: bytes) -> str:
        """ECDSA over SHA-256 of the text."""
        return self._key.sign(text, ec.ECDSA(hashes.SHA256())).hex()

    def verify(self, text: bytes, signature: str) -> bool:
        """With the derived public key."""
        if len(signature) > _DER_WIDTH or _HEX.fullmatch(signature) is None:
            return False
        try:
            self._key.public_key().verify(bytes.fromhex(signature), text, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def derive_p256(pair: KeyPair) -> ec.EllipticCurvePrivateKey:
    """The SigV4A private key of an access key: a counter-mode KDF (NIST SP 800-108) whose output is taken as
    a candidate for d-1, and made again with the next counter when it is over n-2 (FIPS 186-4 B.4.2)."""
    for counter in range(1, 255):
        context = pair.access_key_id.encode() + counter.to_bytes(1)
        fixed = ECDSA.encode("ascii") + b"\x00" + context + (256).to_bytes(4)
        digest = hmac.digest(b"AWS4A" + pair.secret.encode(), (1).to_bytes(4) + fixed, sha256)
        candidate = int.from_bytes(digest)
        if candidate <= _P256_ORDER - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1())
    raise Refused("no signing key can be derived from this access key")  # once in 2^8000


def signer(algorithm: str, pair: KeyPair, scope: Scope) -> Signer:
    """The signer of a key pair for an algorithm of `ALGORITHMS`."""
    return HmacSigner(pair.secret, scope) if algorithm == HMAC else EcdsaSigner(pair)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request says of its key: `KEYID/DATE/REGION/SERVICE/aws4_request`; no region in SigV4A."""

    key_id: str
    scope: Scope

    @classmethod
    def parse(cls, text: str, algorithm: str) -> Self:
        """Read it from an Authorization header or a query.

        Raises:
            Refused: any part is malformed.
        """
        parts = text.split("/")
        if algorithm == ECDSA and len(parts) == 4:
            parts.insert(2, "")
        elif algorithm != HMAC:
            raise Refused("the credential scope is malformed")
        if len(parts) != 5:
            raise Refused("the credential scope is malformed")
        key_id, date, region, service, end = parts
        sound = (
            _KEY_ID.fullmatch(key_id)
            and _DATE.fullmatch(date)
            and (algorithm == ECDSA or _NAME.fullmatch(region))
            and _NAME.fullmatch(service)
        )
        if not sound or end != _TERMINATOR:
            raise Refused("the credential scope is malformed")
        return cls(key_id, Scope(date, None if algorithm == ECDSA else region, service))

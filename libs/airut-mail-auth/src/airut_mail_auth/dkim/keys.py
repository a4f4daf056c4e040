"""Pure: public keys as domains publish them (RFC 6376 §3.6.1, RFC 8463), and the arithmetic of a signature."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from airut_mail_auth.tags import BadTags, decode_base64, parse_tags

KeyKind = Literal["rsa", "ed25519"]
ALGORITHMS: Mapping[str, KeyKind] = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
"""RFC 8301 forbids rsa-sha1."""
SMALLEST_RSA_BITS = 1024
"""RFC 8301 §3.2: a shorter key proves nothing."""
ADVISED_RSA_BITS = 2048
MAX_KEY_CHARACTERS = 1024
"""RSA of 4096 bits fits; longer keys only cost time."""
_RSA_OID = bytes.fromhex("300d06092a864886f70d0101010500")


class BadKey(ValueError):
    """A key record that proves nothing; the text says why."""


@dataclass(frozen=True)
class Key:
    """A public key."""

    kind: KeyKind
    public: rsa.RSAPublicKey | Ed25519PublicKey
    bits: int

    @property
    def weak(self) -> bool:
        """Accepted, but shorter than RFC 8301 advises."""
        return self.kind == "rsa" and self.bits < ADVISED_RSA_BITS

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether `signature` was made over `signed` by the owner of this key."""
        digest = hashlib.sha256(signed).digest()
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                self.public.verify(signature, digest, padding.PKCS1v15(), Prehashed(SHA256()))
            else:
                self.public.verify(signature, digest)  # RFC 8463 §3: Ed25519 over the hash
        except InvalidSignature:
            return False
        return True


def read_key(record: bytes, kind: KeyKind, *, domain: str, identity: str) -> Key:
    """The key of a record, if it may be used for a signature.

    Args:
        record: The TXT record.
        kind: What the signature's algorithm needs.
        domain: The signature's `d=`.
        identity: The domain of its `i=`; the same when it has none.

    Raises:
        BadKey: it may not.
    """
    try:
        tags = parse_tags(record.decode("latin-1"))
    except BadTags:
        raise BadKey("its key record is unreadable") from None
    _check_tags(tags, kind, domain=domain, identity=identity)
    try:
        data = decode_base64(tags["p"])
        key = Key(kind, *(_rsa(data) if kind == "rsa" else _ed25519(data)))
    except (ValueError, TypeError, OverflowError):
        raise BadKey("its key is not verifiable") from None
    if kind == "rsa" and not SMALLEST_RSA_BITS <= key.bits <= 4096:
        raise BadKey(f"its key of {key.bits} bits is too {'short' if key.bits < 1024 else 'long'}")
    return key


def _check_tags(tags: Mapping[str, str], kind: KeyKind, *, domain: str, identity: str) -> None:
    flags = {flag.strip().lower() for flag in tags.get("t", "").split(":")}
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise BadKey("its key record has an unknown version")
    if not tags.get("p"):
        raise BadKey("its key is revoked")
    if len(tags["p"]) > MAX_KEY_CHARACTERS:
        raise BadKey("its key is too long")
    if tags.get("k", "rsa").lower() != kind:
        raise BadKey("its key is of another kind")
    if "sha256" not in _items(tags.get("h", "sha256")):
        raise BadKey("its key does not allow SHA-256")
    if not {"*", "email"} & _items(tags.get("s", "*")):
        raise BadKey("its key is not for mail")
    if "y" in flags:
        raise BadKey("its key is in test mode")
    if "s" in flags and identity != domain:
        raise BadKey("its key does not speak for subdomains")


def _items(text: str) -> set[str]:
    return {item.strip().lower() for item in text.split(":")}


def _rsa(data: bytes) -> tuple[rsa.RSAPublicKey, int]:
    """SubjectPublicKeyInfo, as everybody publishes, or the bare RSAPublicKey of RFC 6376's text (its erratum 3017)."""
    try:
        key = load_der_public_key(data)
    except ValueError:
        bits = b"\x00" + data
        inner = _RSA_OID + b"\x03" + _der_length(len(bits)) + bits
        key = load_der_public_key(b"\x30" + _der_length(len(inner)) + inner)
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("not an RSA key")
    return key, key.key_size


def _ed25519(data: bytes) -> tuple[Ed25519PublicKey, int]:
    return Ed25519PublicKey.from_public_bytes(data), 256


def _der_length(length: int) -> bytes:
    if length < 128:
        return bytes([length])
    data = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(data)]) + data

"""ARC sets written with nothing of the library: its own splitting, canonical forms and hashing.

`crafting.py` shares its forms with what it tests, so that an error in them would be on both sides. This one is written
from RFC 8617 and RFC 6376 alone, as plainly as possible, and writes whatever it is told to.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORDER: Final = ("arc-authentication-results", "arc-message-signature", "arc-seal")
"""Of the headers of one set under a seal (RFC 8617 §5.1.1)."""
Changes = Mapping[str, str | None]
"""Tags to set or, with None, to leave out."""


@dataclass(frozen=True)
class Sealer:
    """A handler of mail."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | Ed25519PrivateKey

    @property
    def name(self) -> str:
        """Where its key is published."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """Its key as published."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={_base64(data)}"
        return f"v=DKIM1; k=ed25519; p={_base64(public.public_bytes_raw())}"

    def add(
        self,
        mail: bytes,
        *,
        instance: str | None = None,
        results: str = "mx.sealer.example; dmarc=pass header.from=lovelace.example",
        message: Changes | None = None,
        seal: Changes | None = None,
        more_message: str = "",
        more_seal: str = "",
        head: str | None = None,
        alone: bool = False,
    ) -> bytes:
        """The mail with one more set on top.

        Args:
            mail: The mail.
            instance: `i=` of all three; by default the next one.
            results: The payload of ARC-Authentication-Results.
            message: Changes to the tags of ARC-Message-Signature.
            seal: Changes to the tags of ARC-Seal.
            more_message: Put behind those tags as it is, before `b=`.
            more_seal: The same for the seal.
            head: The beginning of ARC-Authentication-Results, up to its first semicolon.
            alone: Seal the new set only, as for a chain that has failed (§5.1.2).
        """
        count = len(re.findall(rb"(?im)^arc-seal:", mail))
        number = str(count + 1) if instance is None else instance
        algorithm = "rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519-sha256"
        base: Changes = {"i": number, "a": algorithm, "d": self.domain, "s": self.selector, "t": "1700000000"}
        set_ = (
            f"ARC-Authentication-Results:{f' i={number}' if head is None else head}; {results}\r\n".encode()
        )
        covered = "from:to:subject:date:message-id"
        tags = {**base, "c": "relaxed/relaxed", "h": covered, **(message or {})}
        set_ = self._message_signature(set_ + mail, tags, more_message) + set_
        tags = {**base, "cv": "pass" if count else "none", **(seal or {})}
        return self._seal(set_ if alone else set_ + mail, tags, more_seal) + set_ + mail

    def _message_signature(self, mail: bytes, tags: Changes, more: str) -> bytes:
        form = tags.get("c") or "simple/simple"
        header, _, body = form.partition("/")
        hashed = _base64(hashlib.sha256(_body(mail, relaxed=body == "relaxed")).digest())
        raw = _written("ARC-Message-Signature", {"bh": hashed} | dict(tags), more)
        left = fields_of(mail)
        chosen = []
        for name in (tags.get("h") or "").split(":"):
            found = [one for one in left if _name(one) == name.strip().lower()]
            if found:
                left.remove(found[-1])
                chosen.append(found[-1])
        shape = _relaxed if header == "relaxed" else _simple
        return self._signed(raw, tags, b"\r\n".join(map(shape, [*chosen, raw])))

    def _seal(self, mail: bytes, tags: Changes, more: str) -> bytes:
        raw = _written("ARC-Seal", tags, more)
        sets = [one for one in fields_of(mail) if _name(one) in ORDER]
        sets.sort(key=lambda one: (_instance(one), ORDER.index(_name(one))))
        return self._signed(raw, tags, b"\r\n".join(map(_relaxed, [*sets, raw])))

    def _signed(self, raw: bytes, tags: Changes, signed: bytes) -> bytes:
        if "b" in tags:
            given = tags["b"]
            return (raw.removesuffix(b"; b=") if given is None else raw + given.encode()) + b"\r\n"
        if isinstance(self.key, rsa.RSAPrivateKey):
            signature = self.key.sign(signed, padding.PKCS1v15(), SHA256())
        else:
            signature = self.key.sign(hashlib.sha256(signed).digest())
        return raw + _base64(signature).encode() + b"\r\n"


def fields_of(mail: bytes) -> list[bytes]:
    """The header fields of a mail with their folding, topmost first."""
    return re.split(rb"\r\n(?![ \t])", mail.split(b"\r\n\r\n", 1)[0])


def with_fields(mail: bytes, fields: Iterable[bytes]) -> bytes:
    """The mail with other header fields."""
    return b"\r\n".join(fields) + b"\r\n\r\n" + mail.split(b"\r\n\r\n", 1)[1]


def _written(name: str, tags: Changes, more: str) -> bytes:
    text = "; ".join(f"{tag}={value}" for tag, value in tags.items() if value is not None and tag != "b")
    return f"{name}: {text}{more}; b=".encode()


def _name(field: bytes) -> str:
    return field.partition(b":")[0].strip().lower().decode()


def _instance(field: bytes) -> int:
    found = re.search(rb"\bi\s*=\s*([0-9]+)", field)
    return int(found[1]) if found else 0


def _simple(field: bytes) -> bytes:
    return field


def _relaxed(field: bytes) -> bytes:
    name, _, value = field.partition(b":")
    return name.lower().rstrip() + b":" + b" ".join(value.replace(b"\r\n", b"").split())


def _body(mail: bytes, *, relaxed: bool) -> bytes:
    lines = mail.split(b"\r\n\r\n", 1)[1].split(b"\r\n")
    if relaxed:
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines) or (b"" if relaxed else b"\r\n")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

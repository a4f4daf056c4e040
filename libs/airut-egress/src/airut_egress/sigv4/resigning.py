"""Verify the surrogate's signature over what will be sent, then sign the same with the real key.

A request whose surrogate signature holds is one that the sandbox made, for this host, path, query and body, within
the last minutes. The real key signs exactly that and nothing more: same method, same scope, same date.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Self

from airut_egress.swap import Refused

from . import header, presigned
from .body import UNSIGNED_PAYLOAD, BodyRule, is_digest
from .canonical import (
    S3_SERVICES,
    Parameter,
    canonical_path,
    canonical_query,
    canonical_request,
    canonical_value,
    parse_query,
    split_target,
    string_to_sign,
)
from .chunked import Chain, ChunkedResigner, trailer_names
from .claims import Claim, Headers, find_form, read_authorization
from .keys import ECDSA, HMAC, KeyPair, Signer, signer

#: How far the date of a signature may be from the proxy's clock; AWS takes no more either.
MAX_SKEW: Final = timedelta(minutes=15)

_METHOD: Final = re.compile(r"[A-Z]{1,20}", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_NAME: Final = re.compile(rb":?[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_REGION: Final = re.compile(r"[a-z0-9*-]{1,64}", re.ASCII)
_CHUNKED_UNSIGNED: Final = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_CHUNKED_SIGNED: Final = {
    HMAC: b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    ECDSA: b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
}


@dataclass(frozen=True, slots=True)
class Resigned:
    """A request under the real key."""

    headers: list[tuple[bytes, bytes]] = field(repr=False)
    """To be sent as they are; empty while the body is needed. Never log them."""
    target: bytes = field(repr=False)
    """Of a presigned request it is a credential by itself."""
    body: BodyRule


def resign(
    *,
    method: str,
    host: str,
    raw_target: bytes,
    headers: Headers,
    surrogate: KeyPair,
    real: KeyPair,
    now: datetime,
    body: bytes | None = None,
    services: frozenset[str] | None = None,
    regions: frozenset[str] | None = None,
) -> Resigned:
    """Put the real key in the place of the surrogate.

    Args:
        method: as received; it is case-sensitive.
        host: of the upstream, with its port when that is not 443.
        raw_target: origin form, as it will be sent.
        headers: as they will be sent, with pseudo-headers or without; nothing may change them afterwards.
        surrogate: what the sandbox holds.
        real: what signs.
        now: by the proxy's clock, with a time zone.
        body: the whole of it, where the signature covers a digest that no header has (without it, the rule in the
            result is `needs-body`). A digest in a header is held against it at once; bodies in chunks are left to the
            rule in the result.
        services: signing names that the key may be used for; None for all.
        regions: the same for regions; each of a SigV4A region set must be in it literally.

    Raises:
        Refused: anything is unsigned that must be, malformed, ambiguous, too old, out of limits or tampered with, or
            the body is not the one that was signed.
    """
    message = _Message.read(method, host, raw_target, headers)
    _check(message, surrogate, now, services, regions)
    resigned = _resign(message, surrogate, real, body)
    if body is not None and resigned.body.kind == "hashed":
        check = resigned.body.check()
        check.update(body)
        check.finish()
    return resigned


@dataclass(frozen=True, slots=True)
class _Message:
    """A signed request, taken apart."""

    method: str
    raw_target: bytes
    path: bytes
    parameters: list[Parameter] = field(repr=False)
    headers: Headers = field(repr=False)
    values: dict[str, list[bytes]] = field(repr=False)
    """Header values by lower-case name, with `host` filled in."""
    auth: dict[bytes, str] = field(repr=False)
    """The query's own part of the signature."""
    claim: Claim

    @classmethod
    def read(cls, method: str, host: str, raw_target: bytes, headers: Headers) -> Self:
        form = find_form(headers, raw_target)
        if form is None:
            raise Refused("the request is not signed with AWS Signature Version 4")
        if _METHOD.fullmatch(method) is None:
            raise Refused("the method of a signed request is malformed")
        path, query = split_target(raw_target)
        parameters = parse_query(query)
        auth = presigned.auth_parameters(parameters)
        claim = read_authorization(headers) if form == "header" else presigned.read_claim(auth)
        values = _by_name(headers, host)
        return cls(method, raw_target, path, parameters, headers, values, auth, claim)

    def value(self, name: str) -> bytes | None:
        """The one value of a signed header, canonical; None when it is not signed."""
        return self._signed_value(name) if name in self.claim.signed else None

    def _signed_value(self, name: str) -> bytes:
        found = self.values.get(name, [])
        if len(found) != 1:
            raise Refused(f"the signed header {name} is {'repeated' if found else 'missing'}")
        return canonical_value(found[0])

    def setting(self, name: str, parameter: bytes) -> str | None:
        """What is in a header, or in the query when the request is presigned."""
        if self.claim.form == "query":
            return self.auth.get(parameter)
        value = self.value(name)
        return None if value is None else value.decode("latin-1")

    @property
    def date(self) -> str:
        """`YYYYMMDDTHHMMSSZ`."""
        text = self.setting("x-amz-date", b"X-Amz-Date")
        if text is None:
            raise Refused("a signed request needs x-amz-date")
        return text

    def string_to_sign(self, payload: bytes) -> bytes:
        scope = self.claim.credential.scope
        canonical = canonical_request(
            method=self.method,
            path=canonical_path(self.path, scope.service),
            query=canonical_query(presigned.unsigned(self.parameters)),
            headers=[(name.encode("ascii"), self._signed_value(name)) for name in self.claim.signed],
            payload=payload,
        )
        return string_to_sign(self.claim.algorithm, self.date, scope.text, canonical)

    def with_keys(self, real: KeyPair) -> Self:
        """The same under the real key, still without its signature."""
        if self.claim.form == "query":
            parameters, claim = presigned.with_keys(self.parameters, self.claim, real)
            return replace(self, parameters=parameters, claim=claim)
        headers, claim = header.with_keys(self.headers, self.claim, real)
        token = [value for name, value in headers if name.lower() == header.SESSION.encode()]
        return replace(self, headers=headers, claim=claim, values=self.values | {header.SESSION: token})

    def finished(self, signature: str, body: BodyRule) -> Resigned:
        """To be sent."""
        if self.claim.form == "query":
            target = presigned.target(self.path, self.parameters, signature)
            return Resigned(list(self.headers), target, body)
        return Resigned(header.with_signature(self.headers, self.claim, signature), self.raw_target, body)


def _resign(message: _Message, surrogate: KeyPair, real: KeyPair, body: bytes | None) -> Resigned:
    claim = message.claim
    payload = _payload(message)
    if payload is None:
        if body is None:
            return Resigned([], message.raw_target, BodyRule("needs-body"))
        payload = sha256(body).hexdigest().encode("ascii")
    theirs = signer(claim.algorithm, surrogate, claim.credential.scope)
    if not theirs.verify(message.string_to_sign(payload), claim.signature):
        raise Refused("the signature does not match the request")
    ours = signer(claim.algorithm, real, claim.credential.scope)
    outgoing = message.with_keys(real)
    signature = ours.sign(outgoing.string_to_sign(payload))
    return outgoing.finished(signature, _body_rule(message, payload, theirs, ours, signature))


def _check(
    message: _Message,
    surrogate: KeyPair,
    now: datetime,
    services: frozenset[str] | None,
    regions: frozenset[str] | None,
) -> None:
    """All that is not the signature itself; nothing has been verified yet."""
    credential = message.claim.credential
    if credential.key_id != surrogate.access_key_id:
        raise Refused("the request is signed with a key that is not this session's")
    _check_signed(message)
    _check_date(message, now)
    _check_token(message, surrogate)
    if services is not None and credential.scope.service not in services:
        raise Refused(f"the key may not be used for the service {credential.scope.service}")
    asked = _regions(message)
    refused = [region for region in asked if regions is not None and region not in regions]
    if refused:
        raise Refused(f"the key may not be used in the region {refused[0]}")


def _check_signed(message: _Message) -> None:
    for name, values in message.values.items():
        # Some servers take an underscore for a hyphen.
        if not name.replace("_", "-").startswith("x-amz-"):
            continue
        if name not in message.claim.signed:
            raise Refused(f"the header {name} is not signed")
        if len(values) > 1:
            raise Refused(f"the signed header {name} is repeated")
    if "x-amz-s3session-token" in message.values or b"X-Amz-S3session-Token" in message.auth:
        raise Refused("S3 Express sessions are not supported: their keys are not this session's")


def _check_date(message: _Message, now: datetime) -> None:
    text = message.date
    if _DATE.fullmatch(text) is None or text[:8] != message.claim.credential.scope.date:
        raise Refused("x-amz-date is malformed or not the date of the credential scope")
    try:
        date = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("x-amz-date is malformed or not the date of the credential scope") from None
    if date - now > MAX_SKEW:
        raise Refused("the signature is from the future: is the clock of the sandbox right?")
    if message.claim.expires is not None:
        if now - date > message.claim.expires:
            raise Refused("the presigned request has expired")
    elif now - date > MAX_SKEW:
        raise Refused("the signature is older than 15 minutes")


def _check_token(message: _Message, surrogate: KeyPair) -> None:
    if message.claim.form == "query" and header.SESSION in message.values:
        raise Refused("a presigned request has its session token in the query, not in a header")
    token = message.setting(header.SESSION, presigned.SESSION)
    expected = surrogate.session_token
    if token is None and expected is None:
        return
    if token is None or expected is None or not hmac.compare_digest(token.encode(), expected.encode()):
        raise Refused("x-amz-security-token is not this session's")


def _regions(message: _Message) -> Sequence[str]:
    scope = message.claim.credential.scope
    if scope.region is not None:
        return [scope.region]
    text = message.setting("x-amz-region-set", b"X-Amz-Region-Set")
    found = [] if text is None else [region.strip(" ") for region in text.split(",")]
    if not found or any(_REGION.fullmatch(region) is None for region in found):
        raise Refused("x-amz-region-set is missing or malformed")
    return found


def _by_name(headers: Headers, host: str) -> dict[str, list[bytes]]:
    values: dict[str, list[bytes]] = {}
    for name, value in headers:
        if _NAME.fullmatch(name) is None:
            raise Refused("a header name is malformed")
        values.setdefault(name.decode("ascii").lower(), []).append(value)
    # HTTP/2 has the authority in the place of the host (RFC 9113 §8.3.1); both are one thing to the signer.
    named = [*values.get("host", []), *values.get(":authority", [])]
    if any(_bare(value) != _bare(host.encode()) for value in named):
        raise Refused("the host that is named in the request is not the one that it goes to")
    values.setdefault("host", named[:1] or [host.encode()])
    return values


def _bare(host: bytes) -> bytes:
    return host.strip(b" \t").lower().removesuffix(b":443")


def _payload(message: _Message) -> bytes | None:
    """What stands for the body in the canonical request; None for the digest of a body not seen yet."""
    value = message.value("x-amz-content-sha256")
    is_s3 = message.claim.credential.scope.service in S3_SERVICES
    if message.claim.form == "query":
        given = [p.value for p in message.parameters if p.name.lower() == b"x-amz-content-sha256"]
        if len(given) + (value is not None) > 1:
            raise Refused("x-amz-content-sha256 is repeated")
        value = given[0] if given else value
        if value is None and is_s3:
            return UNSIGNED_PAYLOAD
    elif value is None and is_s3:
        raise Refused("S3 needs x-amz-content-sha256")
    if value is None or is_digest(value) or value == UNSIGNED_PAYLOAD:
        return value
    if message.claim.form == "header" and value in _chunked_payloads(message.claim.algorithm):
        return value
    raise Refused("x-amz-content-sha256 is neither a digest nor a kind of payload that is supported here")


def _chunked_payloads(algorithm: str) -> tuple[bytes, ...]:
    signed = _CHUNKED_SIGNED[algorithm]
    return signed, signed + b"-TRAILER", _CHUNKED_UNSIGNED


def _body_rule(message: _Message, payload: bytes, theirs: Signer, ours: Signer, signature: str) -> BodyRule:
    if is_digest(payload):
        return BodyRule("hashed", digest=payload.decode("ascii"))
    if payload == UNSIGNED_PAYLOAD:
        return BodyRule("unsigned")
    chain = None
    if payload != _CHUNKED_UNSIGNED:
        claim = message.claim
        chain = Chain(
            algorithm=claim.algorithm,
            date=message.date,
            scope=claim.credential.scope.text,
            theirs=theirs,
            ours=ours,
            their_last=claim.signature,
            our_last=signature,
        )
    length = message.value("x-amz-decoded-content-length")
    if length is None or _LENGTH.fullmatch(length) is None:
        raise Refused("a body in chunks needs x-amz-decoded-content-length")
    trailers = None
    if payload.endswith(b"-TRAILER"):
        trailers = trailer_names(message.value("x-amz-trailer") or b"")
    resigner = ChunkedResigner(decoded_length=int(length), trailers=trailers, chain=chain)
    return BodyRule("chunked", chunks=resigner)

"""What a signed request says of itself, before any of it is believed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from airut_egress.swap import Refused

from .keys import ALGORITHMS, Credential

Headers = Sequence[tuple[bytes, bytes]]
Form = Literal["header", "query"]

#: The query parameters that carry a signature (S3 API Reference, "Authenticating Requests: Using Query Parameters").
AUTH_PARAMETERS: Final = {
    name.lower(): name
    for name in (
        b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Date", b"X-Amz-Expires", b"X-Amz-SignedHeaders",
        b"X-Amz-Signature", b"X-Amz-Security-Token", b"X-Amz-Region-Set", b"X-Amz-S3session-Token",
    )
}  # fmt: skip
_MARKS: Final = frozenset({b"x-amz-algorithm", b"x-amz-credential", b"x-amz-signature"})
# All signers write it in this order; `, ` or `,` between the parts.
_AUTHORIZATION: Final = re.compile(
    r"(AWS4-[A-Z0-9-]+) +Credential=([^,\s]+) *, *SignedHeaders=([^,\s]+) *, *Signature=([0-9a-f]+)", re.ASCII
)
_HEADER_NAMES: Final = re.compile(r":?[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
# Whoever forwards the request may change these, and none says anything about what is asked for.
_NEVER_SIGNED: Final = frozenset(
    {
        "authorization", "connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
        "upgrade",
    }
)  # fmt: skip
#: SDKs signed it until the beginning of 2025 (boto/botocore#3351); AWS does not need it signed.
FRAMING: Final = "transfer-encoding"


@dataclass(frozen=True, slots=True)
class Claim:
    """The parts of a signature, read and well-formed, but not verified."""

    form: Form
    algorithm: str
    credential: Credential
    signed: tuple[str, ...]
    """SignedHeaders: lower-case, sorted."""
    signature: str = field(repr=False)
    expires: timedelta | None = None
    """How long a presigned URL is good for."""


def find_key_id(headers: Headers, raw_target: bytes) -> str | None:
    """Which access key id a request claims; None when it is not signed with SigV4 or SigV4A.

    Raises:
        Refused: it claims more than one, or says it is signed and does not say so properly.
    """
    form = find_form(headers, raw_target)
    if form is None:
        return None
    if form == "header":
        return read_authorization(headers).credential.key_id
    values = [
        unquote_to_bytes(value) for name, value in _query_parts(raw_target) if name == b"x-amz-credential"
    ]
    if len(values) != 1:
        raise Refused("a presigned request needs exactly one X-Amz-Credential")
    key_id, slash, _ = values[0].partition(b"/")
    if not slash or re.fullmatch(rb"[A-Za-z0-9_-]{4,128}", key_id) is None:
        raise Refused("the credential scope is malformed")
    return key_id.decode("ascii")


def find_form(headers: Headers, raw_target: bytes) -> Form | None:
    """Where the signature is.

    Raises:
        Refused: in more than one place.
    """
    values = [value for name, value in headers if name.lower() == b"authorization"]
    names = {name for name, _ in _query_parts(raw_target)} & AUTH_PARAMETERS.keys()
    signed = any(value.strip().lower().startswith(b"aws4-") for value in values)
    if signed and len(values) > 1:
        raise Refused("the request has more than one Authorization header")
    if (signed and names) or (values and names & _MARKS):
        raise Refused("the request has an Authorization header and a signature in its query")
    if signed:
        return "header"
    return "query" if names & _MARKS else None


def read_authorization(headers: Headers) -> Claim:
    """The claim of a request whose form is `header`.

    Raises:
        Refused: malformed, or an algorithm that is not supported.
    """
    value = next(value for name, value in headers if name.lower() == b"authorization")
    match = _AUTHORIZATION.fullmatch(value.decode("latin-1").strip(" \t"))
    if match is None:
        raise Refused("the AWS Authorization header is malformed")
    algorithm, credential, signed, signature = match.groups()
    return Claim(
        form="header",
        algorithm=check_algorithm(algorithm),
        credential=Credential.parse(credential, algorithm),
        signed=read_signed_headers(signed),
        signature=signature,
    )


def check_algorithm(text: str) -> str:
    """An algorithm that is supported.

    Raises:
        Refused: another one.
    """
    if text not in ALGORITHMS:
        raise Refused("the request is signed with an algorithm that is not supported")
    return text


def read_signed_headers(text: str) -> tuple[str, ...]:
    """The names in a SignedHeaders list.

    Raises:
        Refused: not lower-case, not sorted, repeated, without the host, or with a header that may change on the way.
    """
    names = tuple(text.split(";"))
    if list(names) != sorted(set(names)) or any(_HEADER_NAMES.fullmatch(name) is None for name in names):
        raise Refused("SignedHeaders is malformed: it must be lower-case, sorted and without repetition")
    if not {"host", ":authority"} & set(names):
        raise Refused("the host is not among the signed headers")
    unstable = _NEVER_SIGNED.intersection(names)
    if unstable:
        raise Refused(f"the header {min(unstable)} must not be signed: it is not passed on as it is")
    return names


def _query_parts(raw_target: bytes) -> list[tuple[bytes, bytes]]:
    _, _, query = raw_target.partition(b"?")
    parts = (part.partition(b"=") for part in query.split(b"&"))
    return [(unquote_to_bytes(name).lower(), value) for name, _, value in parts]

"""The canonical request of Signature Version 4: one spelling of what is sent, on which both sides agree.

Source: AWS IAM User Guide, "Create a signed AWS API request", steps 1 to 3; Amazon S3 API Reference, "Signature
Calculations for the Authorization Header". Everything is bytes, as on the wire. What a server could read in two
ways is refused, because the other reading might be the one that is carried out.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from airut_egress.swap import Refused

#: Signing names whose path is encoded once and never normalised, because any text may be an object's key.
S3_SERVICES: Final = frozenset({"s3", "s3-object-lambda", "s3-outposts", "s3express"})

_TARGET: Final = re.compile(rb"/[\x21-\x7e]*")
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SPACES: Final = re.compile(rb" +")
_NOT_IN_VALUES: Final = re.compile(rb"[\x00-\x1f\x7f]")
_DOTS: Final = (b".", b"..")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `name=value` of a query."""

    name: bytes
    """Decoded."""
    value: bytes
    """Decoded; empty when there is no `=`."""
    raw: bytes
    """As received."""


def encode(raw: bytes) -> bytes:
    """UriEncode: all but the unreserved characters of RFC 3986 §2.3 as `%XX`, also the slash."""
    return quote_from_bytes(raw, safe="").encode("ascii")


def split_target(raw_target: bytes) -> tuple[bytes, bytes | None]:
    """The path and the query (None without `?`) of an origin-form target (RFC 9112 §3.2.1).

    Raises:
        Refused: another form, a fragment, a backslash, a wrong percent escape, or bytes that no target has.
    """
    if _TARGET.fullmatch(raw_target) is None or b"#" in raw_target or b"\\" in raw_target:
        raise Refused("the request target is not a path with an optional query in printable ASCII")
    if _BAD_PERCENT.search(raw_target):
        raise Refused("the request target has a malformed percent escape")
    path, mark, query = raw_target.partition(b"?")
    return path, query if mark else None


def parse_query(query: bytes | None) -> list[Parameter]:
    """The parameters in their order.

    Raises:
        Refused: a `+` (a space for some servers, a plus for others) or an empty parameter.
    """
    if not query:
        return []
    if b"+" in query:
        raise Refused("a + in the query of a signed request is ambiguous: send %20 or %2B")
    return [_parameter(raw) for raw in query.split(b"&")]


def canonical_query(parameters: Iterable[Parameter]) -> bytes:
    """Sorted by encoded name, then by encoded value."""
    pairs = sorted((encode(parameter.name), encode(parameter.value)) for parameter in parameters)
    return b"&".join(name + b"=" + value for name, value in pairs)


def canonical_path(path: bytes, service: str) -> bytes:
    """The CanonicalURI of a raw path.

    S3: each segment decoded and encoded once; dots and empty segments stay. All others: dots and empty segments
    taken out, then what was sent is encoded once more, so that `%2F` becomes `%252F`.

    Raises:
        Refused: the path can be read in two ways.
    """
    segments = path.split(b"/")[1:]
    if any(segment not in _DOTS and unquote_to_bytes(segment) in _DOTS for segment in segments):
        raise Refused("an encoded dot segment in the path of a signed request is ambiguous")
    if service in S3_SERVICES:
        if b"+" in path:
            raise Refused("a + in an S3 path is ambiguous: send %20 or %2B")
        return b"/" + b"/".join(encode(unquote_to_bytes(segment)) for segment in segments)
    return b"/".join(encode(segment) for segment in _without_dots(segments).split(b"/"))


def canonical_value(value: bytes) -> bytes:
    """A header value without outer whitespace and with single spaces ("Trimall").

    Raises:
        Refused: a control character; what trimming does to an inner tab is not agreed upon.
    """
    trimmed = value.strip(b" \t")
    if _NOT_IN_VALUES.search(trimmed):
        raise Refused("a signed header has a control character in its value")
    return _SPACES.sub(b" ", trimmed)


def canonical_request(
    *,
    method: str,
    path: bytes,
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    payload: bytes,
) -> bytes:
    """The text that is hashed: six fields, one a line.

    Args:
        path: from `canonical_path`.
        query: from `canonical_query`.
        headers: the signed ones: lower-case name and `canonical_value`, sorted by name.
        payload: hexadecimal SHA-256 of the body, or the literal that stands for it.
    """
    lines = b"".join(name + b":" + value + b"\n" for name, value in headers)
    names = b";".join(name for name, _ in headers)
    return b"\n".join((method.encode("ascii"), path, query, lines, names, payload))


def string_to_sign(algorithm: str, date: str, scope: str, canonical: bytes) -> bytes:
    """The StringToSign of a canonical request; `date` is `YYYYMMDDTHHMMSSZ`."""
    return f"{algorithm}\n{date}\n{scope}\n{sha256(canonical).hexdigest()}".encode("ascii")


def _parameter(raw: bytes) -> Parameter:
    if not raw or raw.startswith(b"="):
        raise Refused("the query of a signed request has a parameter without a name")
    name, _, value = raw.partition(b"=")
    return Parameter(unquote_to_bytes(name), unquote_to_bytes(value), raw)


def _without_dots(segments: list[bytes]) -> bytes:
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment and segment != b".":
            kept.append(segment)
    if kept and segments[-1] in _DOTS:
        # RFC 3986 §5.2.4 leaves a trailing slash here, and common signers do not.
        raise Refused("a path of a signed request that ends in a dot segment is ambiguous")
    slash = b"/" if kept and not segments[-1] else b""
    return b"/" + b"/".join(kept) + slash

"""Putting real credentials into a request: masked ones in their headers, signatures made anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from .carriers import normal_name
from .credentials import manages, substitute
from .entries import Entries
from .scrub import acceptable_codings
from .signing import SIGNATURE_HEADERS, HeldToDigest, SignedChunks, SignedRequest, SigningEntry, signer_of
from .sigv4 import AUTH_PARAMETERS, BodyRule, Refused

Header = tuple[bytes, bytes]
BodyGate = HeldToDigest | SignedChunks
_AUTHORITY: Final = b":authority"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an allowed request says of itself, before credentials are looked at."""

    method: str
    host: str
    """Canonical, of the upstream."""
    authority: str
    """The same with its port, where that does not go without saying."""
    target: bytes
    """Raw, in origin form."""
    headers: Sequence[Header]
    """Without connection-specific ones and without a host."""
    tls: bool
    """Whether the upstream leg is verified TLS; nothing is put in otherwise."""
    http2: bool
    """Whether the client speaks HTTP/2, where `:authority` may be signed."""
    scrubbed: bool
    """Whether the answer has to be readable."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A request with its real credentials."""

    headers: list[Header] = field(repr=False)
    """To be sent; never log them."""
    target: bytes = field(repr=False)
    used: tuple[str, ...]
    """Names of the credentials put in."""
    stripped: tuple[str, ...]
    """Lower-case names of removed headers, and `?key` for removed query keys."""
    gate: BodyGate | None = None
    """What the body has to go through."""
    waiting: SignedRequest | None = None
    """To be signed when the body is complete; until then headers and target are still the sandbox's."""


def carry(request: Outgoing, entries: Entries, *, now: datetime) -> Carried:
    """Put real credentials where their rules allow it, and take every other one out.

    Args:
        now: by the proxy's clock, with a time zone.

    Raises:
        Refused: a surrogate stands where it must not, or a signature does not hold. The text names the credential,
            never its value.
    """
    signer = signer_of(request.headers, request.host, request.target, entries.signing)
    if signer is not None:
        return _carry_signed(request, entries, signer, now)
    if any(entry.covers(request.host) for entry in entries.signing):
        _check_form(request, entries)
    return _substitute(request, request.headers, request.target, entries)


def _substitute(request: Outgoing, headers: Sequence[Header], target: bytes, entries: Entries) -> Carried:
    put = substitute(headers, request.host, target=target, tls=request.tls, credentials=entries.all())
    if put.refusal is not None:
        raise Refused(put.refusal)
    found = acceptable_codings(put.headers) if request.scrubbed else put.headers
    return Carried(found, put.target, put.used, put.stripped)


def _carry_signed(request: Outgoing, entries: Entries, signer: SigningEntry, now: datetime) -> Carried:
    if not request.tls:
        raise Refused(f"credential {signer.name} goes only over https")
    own = [header for header in request.headers if header[0].lower() in SIGNATURE_HEADERS]
    others = [header for header in request.headers if header[0].lower() not in SIGNATURE_HEADERS]
    put = _substitute(request, others, _without_signature(request.target), entries)
    # What was taken out of the query was signed as well.
    if any(name.startswith("?") for name in put.stripped):
        raise Refused("a signed request carries another credential in its query")
    named = [(_AUTHORITY, request.authority.encode("ascii"))] if request.http2 else []
    signed = SignedRequest(
        entry=signer,
        method=request.method,
        host=request.authority,
        target=request.target,
        headers=[*named, *put.headers, *own],
        now=now,
    )
    used = (*put.used, signer.name)
    done = signed.resign()
    if done.body.kind == "needs-body":
        return Carried([*put.headers, *own], request.target, used, put.stripped, waiting=signed)
    return Carried(sendable(done.headers), done.target, used, put.stripped, gate=_gate(done.body))


def sendable(headers: Sequence[Header]) -> list[Header]:
    """Signed headers without the pseudo-header that was signed among them."""
    return [header for header in headers if header[0] != _AUTHORITY]


def _gate(rule: BodyRule) -> BodyGate | None:
    if rule.kind == "hashed":
        return HeldToDigest(rule.check())
    return None if rule.chunks is None else SignedChunks(rule.chunks)


def _without_signature(target: bytes) -> bytes:
    path, mark, query = target.partition(b"?")
    kept = [pair for pair in query.split(b"&") if pair.partition(b"=")[0].lower() not in AUTH_PARAMETERS]
    return path + mark + b"&".join(kept)


def _check_form(request: Outgoing, entries: Entries) -> None:
    """S3 takes a signed policy among the fields of a form (Amazon S3 API Reference, "Browser-Based Uploads Using
    POST"): a key of somebody else's would come in the body, where nobody looks."""
    if request.method.upper() != "POST" or not manages(request.host, entries.all()):
        return
    types = [value.lower() for name, value in request.headers if normal_name(name) == "content-type"]
    if any(b"form-data" in value for value in types):
        raise Refused("form uploads carry a signature of their own, and are not for this host")

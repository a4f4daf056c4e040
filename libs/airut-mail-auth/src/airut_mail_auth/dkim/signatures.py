"""Pure: which DKIM signatures of a mail may count at all (RFC 6376), before any key is fetched.

The rules beyond the RFC are those that keep a signature from vouching for what its maker did not write: no `l=`, the
headers that people read must be covered, each as often as it occurs, and nothing counts for ever.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from airut_mail_auth.addresses import BadAddress, canonical_domain
from airut_mail_auth.date import date_of
from airut_mail_auth.dkim.keys import ALGORITHMS
from airut_mail_auth.message import Field, RawMail
from airut_mail_auth.tags import BadTags, decode_base64, parse_tags

HEADER = "dkim-signature"
MAX_AGE = timedelta(days=7)
"""An older signature is a replay, not a slow mail."""
CLOCK_SLOP = timedelta(minutes=10)
MAX_HEADER_BYTES = 8 * 1024

#: Must be covered when the mail has them. Every large sender does; unsigned, anybody could have written them.
_ALWAYS_COVERED = ("from", "subject", "date")
#: If the signature covers one, then each one: a copy added afterwards would be read, but is not what was signed.
_COVERED_ALIKE = (
    *("message-id", "to", "cc", "reply-to", "sender", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"),
)
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,200}[a-z0-9_])?", re.IGNORECASE)
_FIELD_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_FORMS = re.compile(r"(simple|relaxed)(?:/(simple|relaxed))?")
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Signature:
    """A signature header as far as it can be read."""

    index: int
    """Its place among the signature headers, topmost 0."""
    field: Field
    domain: str
    """`d=`; empty when it could not be read, and then `problem` says why."""
    selector: str
    tags: Mapping[str, str]
    signed: tuple[str, ...]
    """`h=` in lower case, with its repetitions."""
    problem: str | None
    """Why it counts for nothing; None when it may be verified."""

    @property
    def key_name(self) -> str:
        """Where its public key is."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def identity(self) -> str:
        """The domain of `i=`."""
        return self.tags.get("i", f"@{self.domain}").rpartition("@")[2].lower().rstrip(".")

    @property
    def relaxed(self) -> tuple[bool, bool]:
        """Whether header and body are hashed in their relaxed forms (§3.5: simple unless it says so)."""
        header, _, body = self.tags.get("c", "simple/simple").partition("/")
        return header == "relaxed", body == "relaxed"


def read_signatures(mail: RawMail, now: datetime) -> list[Signature]:
    """Every signature header, good or bad, topmost first."""
    headers = [field for field in mail.fields if field.name == HEADER]
    return [_read(index, field, mail, now) for index, field in enumerate(headers)]


def _read(index: int, field: Field, mail: RawMail, now: datetime) -> Signature:
    def bad(problem: str) -> Signature:
        return Signature(index, field, "", "", {}, (), problem)

    if len(field.raw) > MAX_HEADER_BYTES:
        return bad("too long")
    try:
        tags = parse_tags(field.value)
    except BadTags:
        return bad("unreadable")
    try:
        domain = canonical_domain(tags.get("d", "").rstrip("."))
    except BadAddress:
        return bad("bad domain")
    signed = signed_names(tags)
    signature = Signature(index, field, domain, tags.get("s", ""), tags, signed, None)
    problem = (
        _malformed(signature)
        or form_problem(tags)
        or coverage_problem(mail, signed)
        or time_problem(tags, signed, mail, now)
    )
    return Signature(index, field, domain, tags.get("s", ""), tags, signed, problem)


def signed_names(tags: Mapping[str, str]) -> tuple[str, ...]:
    """`h=` as names in lower case."""
    return tuple(name.strip().lower() for name in tags.get("h", "").split(":"))


def are_names(signed: Sequence[str]) -> bool:
    """Whether `h=` has nothing but names of headers."""
    return all(map(_FIELD_NAME.fullmatch, signed))


def _malformed(signature: Signature) -> str | None:
    tags = signature.tags
    missing = [name for name in _REQUIRED if not tags.get(name)]
    if missing:
        return f"{missing[0]}= is missing"
    if tags["v"] != "1":
        return "unknown version"
    if signature.identity != signature.domain and not signature.identity.endswith(f".{signature.domain}"):
        return "i= is outside of d="
    return None


def form_problem(tags: Mapping[str, str]) -> str | None:
    """What is wrong with the tags that DKIM and ARC have in common; None when they can be used."""
    if tags.get("a", "").lower() not in ALGORITHMS:
        return "algorithm not accepted"
    if not _SELECTOR.fullmatch(tags.get("s", "")):
        return "bad selector"
    if "dns/txt" not in {method.strip() for method in tags.get("q", "dns/txt").split(":")}:
        return "its key is not in the DNS"
    if not _FORMS.fullmatch(tags.get("c", "simple")):
        return "unknown canonical form"
    try:
        decode_base64(tags.get("b", ""))
        decode_base64(tags.get("bh", ""))
    except BadTags:
        return "its values are not base64"
    return None


def coverage_problem(mail: RawMail, signed: Sequence[str]) -> str | None:
    """Which header is left open to others; None when none is."""
    if not are_names(signed):
        return "h= is malformed"
    occurring = Counter(field.name for field in mail.fields)
    covered = Counter(signed)
    for name in (*_ALWAYS_COVERED, *_COVERED_ALIKE):
        if occurring[name] <= covered[name]:
            continue
        if covered[name]:
            return f"{name.title()} occurs more often than it is signed"
        if name in _ALWAYS_COVERED:
            return f"{name.title()} is not signed"
    return None


def time_problem(tags: Mapping[str, str], signed: Sequence[str], mail: RawMail, now: datetime) -> str | None:
    """Whether a signature is out of its time, or covers only a part of the body; None when neither."""
    if "l" in tags:
        return "l= leaves part of the body unsigned"
    if not all(_SECONDS.fullmatch(tags[name]) for name in ("t", "x") if name in tags):
        return "its times are unreadable"
    seconds, slop = now.timestamp(), CLOCK_SLOP.total_seconds()
    made = float(tags["t"]) if "t" in tags else None
    expires = float(tags["x"]) if "x" in tags else None
    if expires is not None and expires + slop < seconds:
        return "expired"
    if made is not None and expires is not None and expires < made:
        return "it expires before it was made"
    if made is None and "date" in signed and (date := date_of(mail)) is not None:
        # The best that there is: a signature without `t=` is as old as the Date that it covers.
        made = date.timestamp()
    if made is None:
        return "nothing says when it was made"
    if made > seconds + slop:
        return "signed in the future"
    return "signed more than 7 days ago" if made + MAX_AGE.total_seconds() < seconds else None

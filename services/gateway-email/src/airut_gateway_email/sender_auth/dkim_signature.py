"""Pure: which DKIM signatures of a mail may count at all (RFC 6376), before any key is fetched."""

# mypy: allow-untyped-calls
# (dkimpy has no types)

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from dkim.util import InvalidTagValueList, parse_tag_value

from airut_gateway_email.addresses import BadAddress, canonical_domain
from airut_gateway_email.rawmail import Field, RawMail

HEADER = "dkim-signature"
ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
"""RFC 8301 forbids rsa-sha1."""
MAX_AGE = timedelta(days=7)
"""An older signature is a replay, not a slow mail."""
CLOCK_SLOP = timedelta(minutes=10)
MAX_HEADER_BYTES = 8 * 1024
MAX_KEY_CHARACTERS = 1024
"""RSA of 4096 bits fits; longer keys only cost time."""

_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,200}[a-z0-9_])?", re.IGNORECASE)
#: dkimpy's expression for `b=` backtracks over white space; nobody folds like this.
_LONG_SPACE = re.compile(r"[ \t]{64}")


@dataclass(frozen=True)
class Signature:
    """A signature header as far as it can be read."""

    index: int
    """Its place among the signature headers, topmost 0."""
    domain: str
    """Empty when it could not be read; then `problem` says why."""
    selector: str
    tags: Mapping[str, str]
    signed: frozenset[str]
    problem: str | None
    """Why it counts for nothing; None when it may be verified."""

    @property
    def key_name(self) -> str:
        """Where its public key is."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def relaxed_body(self) -> bool:
        """Whether the body is hashed in its relaxed form."""
        return self.tags.get("c", "").endswith("/relaxed")


def read_signatures(mail: RawMail, now: datetime) -> list[Signature]:
    """Every signature header, good or bad, topmost first."""
    headers = [field for field in mail.fields if field.name == HEADER]
    return [_read(index, field, mail, now) for index, field in enumerate(headers)]


def _read(index: int, field: Field, mail: RawMail, now: datetime) -> Signature:
    def bad(problem: str) -> Signature:
        return Signature(index, "", "", tags, signed, problem)

    tags: dict[str, str] = {}
    signed: frozenset[str] = frozenset()
    if field.size_bytes > MAX_HEADER_BYTES or _LONG_SPACE.search(field.value):
        return bad("too long")
    try:
        parsed = parse_tag_value(field.value.encode())
    except InvalidTagValueList:
        return bad("unreadable")
    tags = {name.decode(): value.decode() for name, value in parsed.items()}
    signed = frozenset(name.strip().lower() for name in tags.get("h", "").split(":"))
    try:
        domain = canonical_domain(tags.get("d", "").rstrip("."))
    except BadAddress:
        return bad("bad domain")
    problem = _problem(tags, signed, now) or _too_old(tags, signed, mail, now)
    return Signature(index, domain, tags.get("s", "?"), tags, signed, problem)


def _problem(tags: Mapping[str, str], signed: frozenset[str], now: datetime) -> str | None:
    if tags.get("a") not in ALGORITHMS:
        return "algorithm not accepted"
    if not _SELECTOR.fullmatch(tags.get("s", "")):
        return "bad selector"
    if "from" not in signed:
        return "From is not signed"
    if "l" in tags:
        return "l= leaves part of the body unsigned"
    expires = _time(tags.get("x"))
    if expires is not None and expires + CLOCK_SLOP < now:
        return "expired"
    return None


def _too_old(tags: Mapping[str, str], signed: frozenset[str], mail: RawMail, now: datetime) -> str | None:
    """By its own time stamp or, when it has none, by the Date that it covers."""
    made = _time(tags.get("t")) if "t" in tags else _date(mail) if "date" in signed else None
    if made is None:
        return None
    return "signed more than 7 days ago" if made + MAX_AGE < now else None


def _time(text: str | None) -> datetime | None:
    if text is None or not re.fullmatch(r"[0-9]{1,11}", text):
        return None
    return datetime.fromtimestamp(int(text), UTC)


def _date(mail: RawMail) -> datetime | None:
    try:
        date = parsedate_to_datetime(mail.first("date") or "")
    except (ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def key_problem(record: bytes, signature: Signature) -> str | None:
    """Why a published key does not fit a signature (RFC 6376 §3.6.1); None when it does."""
    try:
        tags = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in parse_tag_value(record).items()
        }
    except InvalidTagValueList:
        return "its key record is unreadable"
    flags = {flag.strip().lower() for flag in tags.get("t", "").split(":")}
    identity = signature.tags.get("i", f"@{signature.domain}").rpartition("@")[2].lower().rstrip(".")
    if tags.get("v", "DKIM1") != "DKIM1":
        return "its key record has an unknown version"
    if not tags.get("p"):
        return "its key is revoked"
    if len(tags["p"]) > MAX_KEY_CHARACTERS:
        return "its key is too long"
    if tags.get("k", "rsa") != ALGORITHMS[signature.tags["a"]]:
        return "its key is of another kind"
    if "sha256" not in {name.strip() for name in tags.get("h", "sha256").split(":")}:
        return "its key does not allow SHA-256"
    if not {"*", "email"} & {name.strip() for name in tags.get("s", "*").split(":")}:
        return "its key is not for mail"
    if "y" in flags:
        return "its key is in test mode"
    if "s" in flags and identity != signature.domain:
        return "its key does not speak for subdomains"
    return None

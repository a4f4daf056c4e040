"""Pure: the ARC sets of a mail (RFC 8617 §4, §5.2 steps 1 to 3)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airut_mail_auth.addresses import BadAddress, canonical_domain
from airut_mail_auth.authres.grammar import read_instance
from airut_mail_auth.dkim.canonical import header_form, without_signature
from airut_mail_auth.dkim.signatures import Signature, are_names, form_problem, signed_names
from airut_mail_auth.message import Field, RawMail
from airut_mail_auth.tags import BadTags, parse_tags

RESULTS, MESSAGE, SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
MAX_SETS = 50
MAX_HEADER_BYTES = 16 * 1024
_NUMBER = re.compile(r"0?[1-9]|[1-9][0-9]")  # §4.2.1: 1*2DIGIT


class BadChain(ValueError):
    """The chain fails by its form; the text says why."""


@dataclass(frozen=True)
class ArcSet:
    """What one handler of the mail added."""

    instance: int
    results: Field
    payload: str
    """The Authentication-Results that it found."""
    message: Signature
    """Its signature of the mail."""
    seal: Signature
    """Its signature of the sets so far; `signed` is empty."""

    @property
    def cv(self) -> str:
        """What it says about the chain before it."""
        return self.seal.tags["cv"].lower()


def read_sets(mail: RawMail) -> tuple[ArcSet, ...]:
    """The sets, oldest first; none when the mail has none.

    Raises:
        BadChain: headers are missing, doubled or malformed, or the chain was broken already.
    """
    headers: dict[int, dict[str, tuple[Field, Mapping[str, str]]]] = {}
    for field in mail.fields:
        if field.name not in (RESULTS, MESSAGE, SEAL):
            continue
        instance, tags = _read(field)
        if field.name in headers.setdefault(instance, {}):
            raise BadChain(f"set {instance} has two {field.name.title()} headers")
        headers[instance][field.name] = (field, tags)
    if len(headers) > MAX_SETS or sorted(headers) != list(range(1, len(headers) + 1)):
        raise BadChain("a set is missing")
    sets = tuple(_set(instance, headers[instance]) for instance in sorted(headers))
    for item in sets:
        if item.cv != ("none" if item.instance == 1 else "pass"):
            raise BadChain(f"set {item.instance} says cv={item.cv}")
    return sets


def _read(field: Field) -> tuple[int, Mapping[str, str]]:
    if len(field.raw) > MAX_HEADER_BYTES:
        raise BadChain("a header is too long")
    if field.name == RESULTS:
        found = read_instance(field.value)
        tags = {"i": found[0], "payload": found[1]} if found else {}
    else:
        try:
            tags = parse_tags(field.value)
        except BadTags as error:
            raise BadChain(f"a header is unreadable: {error}") from None
    instance = tags.get("i", "")
    if not _NUMBER.fullmatch(instance) or int(instance) > MAX_SETS:
        raise BadChain(f"a header {field.name.title()} has no instance")
    return int(instance), tags


def _set(instance: int, headers: Mapping[str, tuple[Field, Mapping[str, str]]]) -> ArcSet:
    if len(headers) != 3:
        raise BadChain(f"set {instance} is not complete")
    results, tags = headers[RESULTS]
    return ArcSet(
        instance,
        results,
        tags["payload"],
        _signature(*headers[MESSAGE], required=("a", "b", "bh", "d", "h", "s")),
        _signature(*headers[SEAL], required=("a", "b", "cv", "d", "s")),
    )


def _signature(field: Field, tags: Mapping[str, str], *, required: Sequence[str]) -> Signature:
    name = field.name.title()
    missing = [tag for tag in required if not tags.get(tag)]
    if missing:
        raise BadChain(f"{name} has no {missing[0]}=")
    if field.name == SEAL and "h" in tags:
        raise BadChain("a seal has h=")  # §4.1.3: it would say that it covers less than it must
    try:
        domain = canonical_domain(tags["d"].rstrip("."))
    except BadAddress:
        raise BadChain(f"{name} has a bad domain") from None
    signed = signed_names(tags) if field.name == MESSAGE else ()
    if field.name == MESSAGE:
        _check_signed(signed)
    # ARC's `i=` is a number, not an identity: it must not be read as one when a key is judged.
    tags_of_key = {tag: value for tag, value in tags.items() if tag != "i"}
    # §4.1.3: a seal has no other tags than these, and unknown ones are ignored.
    problem = form_problem({tag: tags[tag] for tag in required} if field.name == SEAL else tags)
    if problem is not None:
        raise BadChain(f"{name}: {problem}")
    return Signature(int(tags["i"]), field, domain, tags["s"], tags_of_key, signed, None)


def _check_signed(names: Sequence[str]) -> None:
    if not are_names(names):
        raise BadChain("a message signature has a malformed h=")
    if SEAL in names:
        raise BadChain("a message signature covers a seal")  # §4.1.2
    if "from" not in names:
        raise BadChain("a message signature leaves From open")  # RFC 6376 §5.4


def sealed_header(sets: Sequence[ArcSet]) -> bytes:
    """What the newest of `sets` is sealed over (§5.1.1): all of them, oldest first, its own seal last."""
    lines: list[bytes] = []
    for item in sets:
        lines += (header_form(field.raw, relaxed=True) for field in (item.results, item.message.field))
        raw = item.seal.field.raw
        lines.append(header_form(without_signature(raw) if item is sets[-1] else raw, relaxed=True))
    return b"\r\n".join(lines)

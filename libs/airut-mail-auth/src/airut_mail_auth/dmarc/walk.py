"""The DNS tree walk of RFC 9989 §4.10: which domain's policy applies, and what the organizational domain is."""

from collections.abc import Sequence
from dataclasses import dataclass

from airut_mail_auth.dmarc.record import DmarcRecord, pick_record
from airut_mail_auth.resolver import TextLookup

_LONGEST_WALK = 8
"""Questions, §4.10 step 4."""


@dataclass(frozen=True)
class Found:
    """A record and where it was."""

    domain: str
    record: DmarcRecord


def walk_names(domain: str) -> list[str]:
    """The domains asked, in order: itself, then its parents; of a long name only the last seven labels (§4.10)."""
    labels = domain.split(".")
    first_parent = 1 if len(labels) <= _LONGEST_WALK else len(labels) - (_LONGEST_WALK - 1)
    return [domain, *(".".join(labels[index:]) for index in range(first_parent, len(labels)))]


async def walk(domain: str, texts: TextLookup) -> tuple[Found, ...]:
    """Ask upwards until a record says `psd=y` or `psd=n`, or the names end.

    Raises:
        DnsTemporary: a lookup failed; what the walk would have found is unknown.
    """
    found: list[Found] = []
    for name in walk_names(domain):
        record = pick_record(await texts(f"_dmarc.{name}"))
        if record is not None:
            found.append(Found(name, record))
            if record.psd != "u":
                break
    return tuple(found)


def organizational_domain(start: str, found: Sequence[Found]) -> str:
    """§4.10.2: where `psd=n` is, else one label below `psd=y`, else the highest record, else the start itself."""
    for item in found:
        if item.record.psd == "n":
            return item.domain
        if item.record.psd == "y" and item.domain != start:
            return start.removesuffix(item.domain).rstrip(".").rpartition(".")[2] + "." + item.domain
    return found[-1].domain if found else start


def policy_record(author: str, found: Sequence[Found]) -> Found | None:
    """§4.10.1: the record of the author's domain, else of its organizational domain, else of the public suffix."""
    organization = organizational_domain(author, found)
    by_domain = {item.domain: item for item in found}
    if author in by_domain:
        return by_domain[author]
    if organization in by_domain:
        return by_domain[organization]
    return next((item for item in found if item.record.psd == "y"), None)

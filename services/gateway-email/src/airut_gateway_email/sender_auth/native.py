"""The author of a mail proven by DKIM or SPF with DMARC alignment."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from airut_gateway_email.addresses import Address
from airut_gateway_email.errors import MailLater
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.sender_auth.dkim_check import DkimChecker
from airut_gateway_email.sender_auth.dkim_signature import Signature, read_signatures
from airut_gateway_email.sender_auth.dmarc_record import DmarcRecord, Policy
from airut_gateway_email.sender_auth.dmarc_walk import Found, organizational_domain, policy_record, walk
from airut_gateway_email.sender_auth.dns import DnsTemporary, Resolver
from airut_gateway_email.sender_auth.spf_check import check_spf, spf_identity
from airut_gateway_email.sender_auth.verdict import Identifier, Proof, decide, require_policy

MAX_SIGNATURES = 10
"""Aligned ones that are verified; each costs a lookup and a hash of the mail."""


@dataclass(frozen=True)
class Envelope:
    """What the SMTP session says about a mail."""

    peer: str
    """IP address of the client."""
    helo: str
    mail_from: str
    """Empty or `<>` for the null sender."""


async def authenticate(
    mail: RawMail,
    author: Address,
    envelope: Envelope,
    resolver: Resolver,
    *,
    now: datetime,
    allow_policy_none: bool,
) -> Proof:
    """Prove that the author's domain sent this mail.

    Raises:
        MailRefused: it is not proven.
        MailLater: the DNS did not answer.
    """
    lookup = _Lookup(resolver)
    try:
        found = await walk(author.domain, lookup.texts)
        published = policy_record(author.domain, found)
        policy = await _applied_policy(author.domain, published, lookup)
    except DnsTemporary as error:
        raise MailLater(
            f"the DMARC policy of {author.domain} cannot be read now ({error}); try later"
        ) from error
    policy = require_policy(author.domain, policy, allow_policy_none=allow_policy_none)
    record = published.record if published is not None else DmarcRecord(p=policy)
    alignment = _Alignment(author.domain, found, lookup)
    dkim, spf = await asyncio.gather(
        _dkim(
            read_signatures(mail, now), DkimChecker(mail, lookup.texts), alignment, strict=record.strict_dkim
        ),
        _spf(envelope, alignment, resolver, strict=record.strict_spf),
    )
    return decide(author.domain, policy, [*dkim, *spf])


async def _applied_policy(author: str, published: Found | None, lookup: "_Lookup") -> Policy | None:
    if published is None:
        return None
    below = published.domain != author
    exists = not below or published.record.np is None or await lookup.resolver.exists(author)
    return published.record.applied(to_subdomain=below, subdomain_exists=exists)


class _Lookup:
    """TXT records, each name asked once per mail."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._known: dict[str, list[bytes]] = {}

    async def texts(self, name: str) -> list[bytes]:
        if name not in self._known:
            self._known[name] = await self.resolver.texts(name)
        return self._known[name]


class _Alignment:
    """Whether an identifier belongs to the author's domain (RFC 9989 §4.4)."""

    def __init__(self, author: str, found: Sequence[Found], lookup: _Lookup) -> None:
        self._author = author
        self._organization = organizational_domain(author, found)
        self._lookup = lookup

    async def holds(self, domain: str, *, strict: bool) -> bool | None:
        """None: the DNS did not answer."""
        if domain == self._author:
            return True
        # Only a name at or below the organizational domain can have that as its own.
        inside = domain == self._organization or domain.endswith(f".{self._organization}")
        if strict or not inside:
            return False
        try:
            found = await walk(domain, self._lookup.texts)
        except DnsTemporary:
            return None
        return organizational_domain(domain, found) == self._organization


async def _dkim(
    signatures: Sequence[Signature], checker: DkimChecker, alignment: _Alignment, *, strict: bool
) -> list[Identifier]:
    """Every signature; those that are not aligned can prove nothing and are not verified."""
    identifiers: list[Identifier] = []
    verified = 0
    for signature in signatures:
        if not signature.domain:
            identifiers.append(Identifier("DKIM", "?", "permerror", signature.problem or "", None))
            continue
        aligned = await alignment.holds(signature.domain, strict=strict)
        if aligned is False or verified >= MAX_SIGNATURES:
            identifiers.append(Identifier("DKIM", signature.domain, "none", "not verified", aligned))
            continue
        verified += 1
        result, detail = await checker.check(signature)
        identifiers.append(
            Identifier("DKIM", signature.domain, result, detail, aligned, frozenset(signature.signed))
        )
        if result == "pass" and aligned:
            break
    return identifiers


async def _spf(
    envelope: Envelope, alignment: _Alignment, resolver: Resolver, *, strict: bool
) -> list[Identifier]:
    domain = spf_identity(envelope.mail_from, envelope.helo)
    if domain is None:
        return []
    aligned = await alignment.holds(domain, strict=strict)
    if aligned is False:
        return [Identifier("SPF", domain, "none", "not evaluated", aligned)]
    result, detail = await check_spf(envelope.peer, envelope.mail_from, envelope.helo, resolver)
    return [Identifier("SPF", domain, result, detail, aligned)]

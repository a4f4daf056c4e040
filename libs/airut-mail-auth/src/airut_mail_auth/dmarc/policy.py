"""The DMARC policy for one author's domain, and what is aligned with it (RFC 9989 §4.4, §4.10)."""

from dataclasses import dataclass
from functools import cached_property

from airut_mail_auth.dmarc.record import DmarcRecord
from airut_mail_auth.dmarc.walk import Found, organizational_domain, policy_record, walk, walk_names
from airut_mail_auth.record import DmarcEvidence, Policy
from airut_mail_auth.resolver import DnsTemporary, Resolver


class Lookups:
    """TXT records, each name asked once per mail."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._known: dict[str, list[bytes]] = {}

    async def texts(self, name: str) -> list[bytes]:
        """TXT records of a name.

        Raises:
            DnsTemporary: no usable answer.
        """
        if name not in self._known:
            self._known[name] = await self.resolver.texts(name)
        return self._known[name]


@dataclass(frozen=True)
class AuthorPolicy:
    """What the DNS says about mail from a domain."""

    author: str
    found: tuple[Found, ...]
    """Records of the tree walk, longest name first."""
    subdomain_exists: bool | None
    """Asked only where `np` could apply."""

    @cached_property
    def published(self) -> Found | None:
        """The record that applies."""
        return policy_record(self.author, self.found)

    @property
    def record(self) -> DmarcRecord:
        """It, or one that asks for nothing."""
        return self.published.record if self.published is not None else DmarcRecord(p=None)

    @cached_property
    def organization(self) -> str:
        """The author's organizational domain."""
        return organizational_domain(self.author, self.found)

    @property
    def policy(self) -> Policy | None:
        """The policy for this mail; None: DMARC does not apply."""
        if self.published is None:
            return None
        return self.record.applied(
            to_subdomain=self.published.domain != self.author,
            subdomain_exists=self.subdomain_exists is not False,
        )

    def evidence(self) -> DmarcEvidence:
        """For the record of the decision."""
        names = walk_names(self.author)
        last = self.found[-1] if self.found else None
        ended_at = names.index(last.domain) + 1 if last is not None and last.record.psd != "u" else len(names)
        return DmarcEvidence(
            asked=tuple(f"_dmarc.{name}" for name in names[:ended_at]),
            record_at=self.published.domain if self.published is not None else None,
            record=self.record.text or None,
            organizational_domain=self.organization,
            subdomain_exists=self.subdomain_exists,
            policy=self.policy,
            strict_dkim=self.record.strict_dkim,
            strict_spf=self.record.strict_spf,
        )


async def find_policy(author: str, lookups: Lookups) -> AuthorPolicy:
    """Walk the tree from the author's domain.

    Raises:
        DnsTemporary: the policy is unknown.
    """
    found = await walk(author, lookups.texts)
    published = policy_record(author, found)
    exists = None
    if published is not None and published.domain != author and published.record.np is not None:
        exists = await lookups.resolver.exists(author)
    return AuthorPolicy(author, found, exists)


class Alignment:
    """Whether an identifier belongs to the author's domain (§4.4)."""

    def __init__(self, policy: AuthorPolicy, lookups: Lookups) -> None:
        self._author = policy.author
        self._organization = policy.organization
        self._lookups = lookups

    def possible(self, domain: str, *, strict: bool) -> bool:
        """Without asking the DNS: only a name at or below the organizational domain can have that as its own."""
        inside = domain == self._organization or domain.endswith(f".{self._organization}")
        return domain == self._author or (inside and not strict)

    async def holds(self, domain: str, *, strict: bool) -> bool | None:
        """None: the DNS did not answer."""
        if domain == self._author or not self.possible(domain, strict=strict):
            return domain == self._author
        try:
            found = await walk(domain, self._lookups.texts)
        except DnsTemporary:
            return None
        return organizational_domain(domain, found) == self._organization

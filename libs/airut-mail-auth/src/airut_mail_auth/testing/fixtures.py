"""Pytest fixtures: a zone server, a resolver that asks it, and a domain that signs."""

from collections.abc import AsyncIterator

import pytest

from airut_mail_auth.dns import DnsResolver
from airut_mail_auth.testing.signing import SigningDomain
from airut_mail_auth.testing.zones import ZoneServer


@pytest.fixture
async def zone() -> AsyncIterator[ZoneServer]:
    """A DNS server on loopback that knows what a test tells it."""
    async with ZoneServer().running() as server:
        yield server


@pytest.fixture
def resolver(zone: ZoneServer) -> DnsResolver:
    """Asks the zone server, and nobody else."""
    return DnsResolver(("127.0.0.1", zone.port))


@pytest.fixture
def lovelace(zone: ZoneServer) -> SigningDomain:
    """The user's domain, set up well."""
    domain = SigningDomain("lovelace.example")
    domain.publish(zone)
    return domain

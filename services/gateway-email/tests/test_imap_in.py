"""Mail fetched from a real Dovecot: how it comes in, what becomes of it in its folder, and what a broken line does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airut_common.config.imap import ImapConfig
from airut_common.secrets import Secret
from airut_gateway_email.errors import MailError
from airut_gateway_email.imap_in import ImapFetcher, ImapRules
from airut_gateway_email.intake import Intake
from airut_gateway_email.sender_auth import Resolver
from airut_gateway_email.testing.dovecot import PASSWORD, USER, Dovecot, dovecot_folder
from airut_gateway_email.testing.signing import SigningDomain, plain_mail

pytestmark = pytest.mark.integration

NO_EXTENSIONS = "imap_capability = IMAP4rev1 LITERAL+\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    with dovecot_folder() as path:
        yield path


@pytest.fixture
async def dovecot(folder: Path) -> AsyncIterator[Dovecot]:
    async with Dovecot(folder).running() as server:
        yield server


def mailbox(dovecot: Dovecot, **more: Any) -> ImapConfig:
    given = {
        "host": "localhost",
        "port": dovecot.tls_port,
        "ca_file": dovecot.ca_file,
        "username": USER,
        "password_secret": "IMAP_PASSWORD",
    }
    return ImapConfig(**given | more)


@dataclass
class Fetching:
    """The fetcher on a real bus, and what it told."""

    gateway: Any
    config: ImapConfig | None
    credential: Secret = field(default_factory=lambda: Secret(PASSWORD))
    refusals: list[MailError] = field(default_factory=list)
    told: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    longest_age: timedelta = timedelta(days=7)
    fetcher: ImapFetcher | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fetching"]:
        resolver = Resolver(("127.0.0.1", self.gateway.zone.port))
        intake = Intake(
            self.gateway.bus,
            email=self.gateway.email,
            repos=lambda: self.gateway.repos,
            resolver=lambda: resolver,
        )
        self.fetcher = ImapFetcher(
            ImapRules(
                settings=lambda: self.config,
                max_message_bytes=lambda: self.gateway.max_message_bytes,
                longest_age=lambda: self.longest_age,
                repos=lambda: self.gateway.repos,
                credential=self._credential,
                credential_refused=lambda: None,
                accept=intake.accept,
                refused=self._refused,
                report=self._report,
            )
        )
        task = asyncio.ensure_future(self.fetcher.run())
        try:
            yield self
        finally:
            await self.fetcher.close(5)
            await asyncio.wait_for(task, 10)

    async def _credential(self, _config: ImapConfig) -> Secret:
        return self.credential

    async def _refused(self, error: MailError, _peer: str, _repo: str | None) -> None:
        self.refusals.append(error)

    async def _report(self, _level: str, code: str, text: str, _repo: str | None = None) -> None:
        self.told.put_nowait((code, text))

    async def hears(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.told.get(), 20)


async def test_a_mail_becomes_a_task_and_is_deleted(gateway, dovecot, lovelace: SigningDomain):
    await dovecot.append(lovelace.sign(plain_mail("Greet them.\n").as_bytes()))
    async with Fetching(gateway, mailbox(dovecot)).running():
        [request] = await gateway.requests(1)
        assert request.text == "Greet them."
        assert request.evidence.record["mailbox"] == "localhost"
        assert "spf" not in request.evidence.record or not request.evidence.record["spf"]
        await dovecot.wait_until("INBOX", [])

"""Fixtures: a zone server, a signing domain, and the gateway's intake and listener on a real bus."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiosmtplib
import pytest

from airut_common.bus import Bus
from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.config.models import EmailConfig, GitConfig, RelayConfig, RepoConfig, SenderAuthConfig
from airut_common.contracts.v1 import TaskRequest
from airut_gateway_email.errors import MailError
from airut_gateway_email.intake import Intake
from airut_gateway_email.recipients import find_recipient
from airut_gateway_email.sender_auth import Resolver
from airut_gateway_email.smtp_in import SmtpListener, SmtpRules, SmtpSettings
from airut_gateway_email.testing.signing import SigningDomain
from airut_gateway_email.testing.zones import ZoneServer

pytest_plugins = ["airut_common.testing.fixtures"]


def repo(address: str, *senders: str) -> RepoConfig:
    return RepoConfig(
        address=address,
        senders=senders or ("ada@lovelace.example",),
        git=GitConfig(url="https://git.example/x.git"),
    )


@pytest.fixture
async def zone() -> AsyncIterator[ZoneServer]:
    async with ZoneServer().running() as server:
        yield server


@pytest.fixture
def resolver(zone: ZoneServer) -> Resolver:
    return Resolver(("127.0.0.1", zone.port))


@pytest.fixture
def lovelace(zone: ZoneServer) -> SigningDomain:
    """The user's domain, set up well."""
    domain = SigningDomain("lovelace.example")
    domain.publish(zone)
    return domain


@dataclass
class Gateway:
    """The way in, from the socket to the bus."""

    bus: Bus
    zone: ZoneServer
    repos: dict[str, RepoConfig] = field(
        default_factory=lambda: {
            "demo": repo("demo@airut.example"),
            "other": repo("other@airut.example", "*@lovelace.example"),
        }
    )
    authentication: dict[str, Any] = field(default_factory=dict)
    max_message_bytes: int = 2 * 1024 * 1024
    tls: Any = None
    refusals: list[MailError] = field(default_factory=list)
    host: str = ""
    port: int = 0

    def email(self) -> EmailConfig:
        return EmailConfig(
            hostname="airut.example",
            max_message_bytes=self.max_message_bytes,
            authentication=SenderAuthConfig(**self.authentication),
            relay=RelayConfig(host="127.0.0.1", port=25, security="plain"),
        )

    async def refused(self, error: MailError, _peer: str, _repo: str | None) -> None:
        self.refusals.append(error)

    def listener(self) -> SmtpListener:
        resolver = Resolver(("127.0.0.1", self.zone.port))
        intake = Intake(self.bus, email=self.email, repos=lambda: self.repos, resolver=lambda: resolver)
        return SmtpListener(
            SmtpRules(
                settings=lambda: SmtpSettings("airut.example", self.max_message_bytes, self.tls),
                recipient=lambda address: find_recipient(address, self.repos),
                accept=intake.accept,
                refused=self.refused,
            )
        )

    async def send(
        self, data: bytes, *, to: str = "demo@airut.example", mail_from: str = "ada@lovelace.example"
    ) -> str:
        """Deliver over a real connection; the answer as `code text`, of whichever step refused."""
        client = aiosmtplib.SMTP(
            hostname=self.host, port=self.port, start_tls=False, local_hostname="client.example"
        )
        try:
            async with client:
                await client.execute_command(b"EHLO", b"client.example")
                for command in (f"MAIL FROM:<{mail_from}>", f"RCPT TO:<{to}>", "DATA"):
                    answer = await client.execute_command(command.encode())
                    if answer.code >= 400:
                        return f"{answer.code} {answer.message}"
                answer = await client.execute_command(dot_stuffed(data) + b".")
                return f"{answer.code} {answer.message}"
        except aiosmtplib.SMTPResponseException as error:
            return f"{error.code} {error.message}"

    async def requests(self, count: int) -> list[TaskRequest]:
        """The next requests on the bus."""
        found: asyncio.Queue[TaskRequest] = asyncio.Queue()
        task = asyncio.ensure_future(self.bus.consume(ORCHESTRATOR_TASKS, TaskRequest, found.put))
        try:
            return [await asyncio.wait_for(found.get(), 10) for _ in range(count)]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def dot_stuffed(data: bytes) -> bytes:
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))


@pytest.fixture
async def gateway(bus: Bus, zone: ZoneServer, lovelace: SigningDomain) -> AsyncIterator[Gateway]:
    """A listening gateway for `demo@airut.example`, which Ada may write to."""
    gateway = Gateway(bus, zone)
    listener = gateway.listener()
    host, _, port = (await listener.start("127.0.0.1", 0)).rpartition(":")
    gateway.host, gateway.port = host, int(port)
    yield gateway
    await listener.close(1)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)

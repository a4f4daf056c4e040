"""Fixtures: the gateway's intake and listener on a real bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airut_common.bus import Bus
from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.config.imap import ImapConfig
from airut_common.config.models import EmailConfig, GitConfig, RelayConfig, RepoConfig, SenderAuthConfig
from airut_common.contracts.v1 import TaskRequest
from airut_gateway_email.age import LONGEST_AGE
from airut_gateway_email.errors import MailError
from airut_gateway_email.intake import Intake
from airut_gateway_email.recipients import find_recipient
from airut_gateway_email.sender_auth import Resolver
from airut_gateway_email.smtp_in.listener import SmtpListener
from airut_gateway_email.smtp_in.settings import Login, SmtpRules, SmtpSettings
from airut_gateway_email.testing.certificates import write_certificate
from airut_mail_auth.testing.signing import SigningDomain
from airut_mail_auth.testing.zones import ZoneServer


def repo(address: str | tuple[str, ...], *senders: str) -> RepoConfig:
    return RepoConfig(
        address=address,
        senders=senders or ("ada@lovelace.example",),
        git=GitConfig(url="https://git.example/x.git"),
    )


@dataclass
class Gateway:
    """The way in, from the socket to the bus."""

    bus: Bus
    zone: ZoneServer
    spool: Path
    repos: dict[str, RepoConfig] = field(
        default_factory=lambda: {
            "demo": repo("demo@airut.example"),
            "other": repo("other@airut.example", "*@lovelace.example"),
        }
    )
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    authentication: dict[str, Any] = field(default_factory=dict)
    imap: ImapConfig | None = None
    max_message_bytes: int = 2 * 1024 * 1024
    tls: Any = None
    tls_now: Any = None
    """Asked for each connection, in place of `tls`."""
    require_tls: bool = False
    login: Login | None = None
    allowed_peers: tuple[str, ...] = ()
    proxy_peers: tuple[str, ...] = ()
    refusals: list[MailError] = field(default_factory=list)
    refused_peers: list[str] = field(default_factory=list)
    host: str = ""
    port: int = 0

    def email(self) -> EmailConfig:
        return EmailConfig(
            hostname="airut.example",
            imap=self.imap,
            max_message_bytes=self.max_message_bytes,
            authentication=SenderAuthConfig(**self.authentication),
            relay=RelayConfig(host="127.0.0.1", port=25, security="plain"),
        )

    async def refused(self, error: MailError, peer: str, _repo: str | None) -> None:
        self.refusals.append(error)
        self.refused_peers.append(peer)

    def listener(self) -> SmtpListener:
        resolver = Resolver(("127.0.0.1", self.zone.port))
        intake = Intake(
            self.bus,
            email=self.email,
            repos=lambda: self.repos,
            groups=lambda: self.groups,
            resolver=lambda: resolver,
            longest_age=lambda: LONGEST_AGE,
            spool=self.spool,
        )
        return SmtpListener(
            SmtpRules(
                settings=lambda: SmtpSettings(
                    "airut.example",
                    self.max_message_bytes,
                    self.tls_now() if self.tls_now else self.tls,
                    self.require_tls,
                    self.login,
                    self.allowed_peers,
                    self.proxy_peers,
                ),
                recipient=lambda address: find_recipient(address, self.repos),
                accept=intake.accept,
                refused=self.refused,
                spool=self.spool,
            )
        )

    async def send(
        self,
        data: bytes,
        *,
        to: str = "demo@airut.example",
        mail_from: str = "ada@lovelace.example",
        options: str = "",
    ) -> str:
        """Deliver over a real connection; the answer of whichever step refused, or of the last."""
        async with self.session() as session:
            await session.answer()
            answer = ""
            sender = f"MAIL FROM:<{mail_from}> {options}".rstrip()
            for command in ("EHLO client.example", sender, f"RCPT TO:<{to}>", "DATA"):
                answer = await session.say(command)
                if not answer.startswith(("2", "3")):
                    return answer
            return await session.say_bytes(dot_stuffed(data) + b".\r\n")

    @asynccontextmanager
    async def session(self) -> AsyncIterator["RawSession"]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield RawSession(reader, writer)
        finally:
            writer.close()

    async def requests(self, count: int) -> list[TaskRequest]:
        """The next requests on the bus."""
        found: asyncio.Queue[TaskRequest] = asyncio.Queue()
        task = asyncio.ensure_future(self.bus.consume(ORCHESTRATOR_TASKS, TaskRequest, found.put))
        try:
            return [await asyncio.wait_for(found.get(), 10) for _ in range(count)]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@dataclass
class RawSession:
    """SMTP byte by byte: libraries on the client side would refuse to send what an attacker sends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, line: str) -> str:
        return await self.say_bytes(line.encode() + b"\r\n")

    async def say_bytes(self, data: bytes) -> str:
        self.writer.write(data)
        await self.writer.drain()
        return await self.answer()

    async def answer(self) -> str:
        """All lines of one answer; empty when the server hung up."""
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 60)).decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)


def dot_stuffed(data: bytes) -> bytes:
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))


@pytest.fixture
async def gateway(
    bus: Bus, zone: ZoneServer, lovelace: SigningDomain, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A listening gateway for `demo@airut.example`, which Ada may write to."""
    gateway = Gateway(bus, zone, tmp_path)
    listener = gateway.listener()
    host, _, port = (await listener.start("127.0.0.1", 0)).rpartition(":")
    gateway.host, gateway.port = host, int(port)
    yield gateway
    await listener.close(1)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a certificate for localhost, which vouches for itself, and of its key."""
    files = tmp_path / "c.pem", tmp_path / "k.pem"
    write_certificate(*files)
    return files

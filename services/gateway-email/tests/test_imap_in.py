"""Mail fetched from a real Dovecot: how it comes in, what becomes of it in its folder, and what a broken line does."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airut_common.config.imap import ImapConfig
from airut_common.secrets import Secret
from airut_gateway_email import imap_in
from airut_gateway_email.age import LONGEST_AGE
from airut_gateway_email.errors import MailError
from airut_gateway_email.imap_in import FETCH_BYTES, ImapFetcher, ImapRules
from airut_gateway_email.intake import Intake
from airut_gateway_email.large import reader
from airut_gateway_email.sender_auth import Resolver
from airut_gateway_email.testing.dovecot import PASSWORD, USER, Dovecot, dovecot_folder
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

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
            groups=dict,
            resolver=lambda: resolver,
            longest_age=lambda: LONGEST_AGE,
            spool=self.gateway.spool,
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
                spool=self.gateway.spool,
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


async def test_a_large_mail_is_fetched_in_parts_and_waits_for_a_worker_that_lives(
    gateway, dovecot, lovelace: SigningDomain, monkeypatch
):
    gateway.max_message_bytes = 8 * FETCH_BYTES
    data = random.randbytes(2 * FETCH_BYTES)
    mail = plain_mail("Look at it.\n", subject="Large")
    mail.add_attachment(data, maintype="application", subtype="x-thing", filename="thing.bin")
    await dovecot.append(lovelace.sign(mail.as_bytes()))
    monkeypatch.setattr(reader, "MEMORY_BYTES", 1)
    fetching = Fetching(gateway, mailbox(dovecot, poll_seconds=1))
    async with fetching.running():
        async with asyncio.timeout(40):
            while not fetching.refusals:
                await asyncio.sleep(0.05)
        assert fetching.refusals[0].smtp_answer().startswith("451 4.3.0")
        assert await dovecot.subjects() == ["Large"]
        monkeypatch.undo()
        [request] = await gateway.requests(1)
        await dovecot.wait_until("INBOX", [])
    assert request.text == "Look at it."
    assert await gateway.bus.get_blob(request.attachments[0]) == data


@pytest.mark.parametrize(("parts", "more"), [(1, -1), (1, 0), (1, 1), (3, 0), (3, 1)])
async def test_however_many_bytes_are_fetched_at_once_the_mail_is_whole(
    gateway, dovecot, lovelace: SigningDomain, monkeypatch, parts: int, more: int
):
    mail = lovelace.sign(plain_mail("Words.\n").as_bytes())
    mail = (
        b"X-Filler: " + b"x" * (3 - len(mail) % 3) + b"\r\n" + mail
    )  # so that it can be cut into equal parts
    assert len(mail) % parts == 0
    monkeypatch.setattr(imap_in, "FETCH_BYTES", len(mail) // parts + more)
    await dovecot.append(mail)
    async with Fetching(gateway, mailbox(dovecot)).running():
        assert [request.text for request in await gateway.requests(1)] == [
            "Words."
        ]  # or its signature were broken


async def test_idle_brings_a_mail_long_before_the_next_look(gateway, dovecot, lovelace: SigningDomain):
    async with Fetching(gateway, mailbox(dovecot, poll_seconds=1500)).running():
        for number in range(2):  # the second comes while it surely waits
            await dovecot.append(lovelace.sign(plain_mail(f"Task {number}.\n").as_bytes()))
            [request] = await gateway.requests(1)
            assert request.text == f"Task {number}."
            await dovecot.wait_until("INBOX", [])


async def test_a_server_without_extensions_is_polled(gateway, folder, lovelace: SigningDomain):
    """No IDLE, MOVE, UIDPLUS or NAMESPACE; over STARTTLS."""
    async with Dovecot(folder, NO_EXTENSIONS).running() as dovecot:
        config = mailbox(
            dovecot, port=dovecot.port, security="starttls", poll_seconds=1, after="move", done_folder="Done"
        )
        async with Fetching(gateway, config).running():
            for number in range(2):
                mail = plain_mail(f"Task {number}.\n", subject=f"Number {number}")
                await dovecot.append(lovelace.sign(mail.as_bytes()))
                [request] = await gateway.requests(1)
                assert request.text == f"Task {number}."
            await dovecot.wait_until("Done", ["Number 0", "Number 1"])
            assert await dovecot.subjects() == []


async def test_refused_mails_are_moved_and_never_run(gateway, dovecot, lovelace: SigningDomain):
    gateway.max_message_bytes = 20_000
    forged = plain_mail("Forged.\n", subject="Unsigned")
    elsewhere = lovelace.sign(plain_mail("x\n", subject="Elsewhere", to="bob@x.example").as_bytes())
    large = lovelace.sign(plain_mail("x\n" * 20_000, subject="Large").as_bytes())
    for data in (forged.as_bytes(), elsewhere, large):
        await dovecot.append(data)
    await dovecot.append(lovelace.sign(plain_mail("Good.\n").as_bytes()))
    fetching = Fetching(gateway, mailbox(dovecot, refused_folder="Refused"))
    async with fetching.running():
        [request] = await gateway.requests(1)
        assert request.text == "Good."
        await dovecot.wait_until("Refused", ["Unsigned", "Elsewhere", "Large"])
        await dovecot.wait_until("INBOX", [])
    assert [str(error) for error in fetching.refusals][1:] == [
        "the mail names no repository's address in To or Cc",
        "the mail is larger than 20000 bytes",
    ]
    assert "no DKIM signature" in str(fetching.refusals[0])


async def test_a_mail_that_lay_too_long_is_refused(gateway, dovecot, lovelace: SigningDomain):
    await dovecot.append(lovelace.sign(plain_mail("Late.\n", subject="Late").as_bytes()))
    fetching = Fetching(gateway, mailbox(dovecot, refused_folder="Refused"), longest_age=timedelta(0))
    async with fetching.running():
        await dovecot.wait_until("Refused", ["Late"])
    assert [str(error) for error in fetching.refusals] == ["the mail is older than 0 days"]


async def test_without_an_answer_of_the_dns_a_mail_stays_for_later(
    gateway, dovecot, lovelace: SigningDomain, zone
):
    zone.fails.add("_dmarc.lovelace.example")
    await dovecot.append(lovelace.sign(plain_mail("Wait.\n", subject="Patience").as_bytes()))
    fetching = Fetching(gateway, mailbox(dovecot, poll_seconds=1))
    async with fetching.running():
        async with asyncio.timeout(40):
            while not fetching.refusals:
                await asyncio.sleep(0.05)
        assert fetching.refusals[0].code == 451
        assert await dovecot.subjects() == ["Patience"]
        zone.fails.clear()
        assert [request.text for request in await gateway.requests(1)] == ["Wait."]
        await dovecot.wait_until("INBOX", [])


async def test_nobody_waits_for_the_dns_of_a_stranger(gateway, dovecot, lovelace: SigningDomain, zone):
    zone.silent.add("_dmarc.slow.example")
    for number in range(3):
        stranger = plain_mail("x\n", subject=f"Slow {number}", sender="x@slow.example")
        await dovecot.append(stranger.as_bytes())
    await dovecot.append(lovelace.sign(plain_mail("Good.\n").as_bytes()))
    fetching = Fetching(gateway, mailbox(dovecot, refused_folder="Refused"))
    async with fetching.running():
        assert [request.text for request in await gateway.requests(1)] == ["Good."]
        await dovecot.wait_until("Refused", [f"Slow {number}" for number in range(3)])
    assert {str(error) for error in fetching.refusals} == {
        "x@slow.example is not on the sender list of demo@airut.example"
    }
    assert not [question for question in zone.questions if "slow.example" in question]


async def test_a_mail_that_trips_over_our_mistake_does_not_keep_others_out(
    gateway, dovecot, lovelace: SigningDomain, monkeypatch
):
    accept = Intake.accept

    async def trip(self, arrival):
        if b"Stumble" in arrival.data:
            raise RuntimeError("a mistake")
        return await accept(self, arrival)

    monkeypatch.setattr(Intake, "accept", trip)
    for subject in ("Stumble", "Walk"):
        await dovecot.append(lovelace.sign(plain_mail("x\n", subject=subject).as_bytes()))
    async with Fetching(gateway, mailbox(dovecot)).running():
        assert [request.subject for request in await gateway.requests(1)] == ["Walk"]
        await dovecot.wait_until("INBOX", ["Stumble"])


async def test_it_comes_back_after_the_server_was_away(gateway, dovecot, lovelace: SigningDomain):
    fetching = Fetching(gateway, mailbox(dovecot))
    async with fetching.running():
        await dovecot.append(lovelace.sign(plain_mail("Before.\n").as_bytes()))
        assert [request.text for request in await gateway.requests(1)] == ["Before."]
        await dovecot.stop()
        assert (await fetching.hears())[0] == "imap_failed"
        await dovecot.start()
        assert (await fetching.hears())[0] == "imap_connected"
        await dovecot.append(lovelace.sign(plain_mail("After.\n").as_bytes()))
        assert [request.text for request in await gateway.requests(1)] == ["After."]


async def test_a_wrong_password_and_a_strange_certificate_are_told(gateway, dovecot, folder):
    fetching = Fetching(gateway, mailbox(dovecot), credential=Secret("wrong"))
    async with fetching.running():
        code, text = await fetching.hears()
        assert (code, "does not accept our login" in text) == ("imap_failed", True)
        assert "wrong" not in text
    fetching = Fetching(gateway, mailbox(dovecot, ca_file=None))
    async with fetching.running():
        code, text = await fetching.hears()
        assert (code, "certificate verify failed" in text) == ("imap_failed", True)


async def test_the_header_of_the_mailboxs_server_is_believed_where_configured(gateway, dovecot):
    gateway.authentication = {"mode": "trusted-header", "authserv_id": "mx.mail.example"}
    gateway.imap = mailbox(dovecot, refused_folder="Refused")
    results = b"Authentication-Results: mx.mail.example; dmarc=%s header.from=lovelace.example\r\n"
    passed = plain_mail("Passed.\n", subject="Passed").as_bytes()
    failed = plain_mail("Failed.\n", subject="Failed").as_bytes()
    forged = plain_mail("Forged.\n", subject="Forged").as_bytes()
    await dovecot.append(results % b"fail" + results % b"pass" + failed)
    await dovecot.append(results.replace(b"mx.", b"other.") % b"pass" + forged)
    await dovecot.append(results % b"pass" + passed)
    async with Fetching(gateway, gateway.imap).running():
        [request] = await gateway.requests(1)
        assert (request.text, request.evidence.method) == ("Passed.", "trusted-header")
        await dovecot.wait_until("Refused", ["Failed", "Forged"])


class HoldingWire:
    """Between client and server: keeps the answer to the first IDLE back until the server has said something more, and
    then sends both at once."""

    def __init__(self, server_port: int) -> None:
        self.held = asyncio.Event()
        self.port = 0
        self._server_port = server_port
        self._asked = self._sent = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["HoldingWire"]:
        async with await asyncio.start_server(self._join, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            server.close_clients()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forward(reader, server_writer))
            group.create_task(self._back(server_reader, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self._asked |= b" IDLE\r\n" in data
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._asked and not self._sent:
                self._sent = True
                self.held.set()
                data = data if b"EXISTS" in data else data + await reader.read(65536)
            writer.write(data)
        writer.close()


async def test_what_the_server_says_in_one_breath_with_its_consent_to_idle_is_heard(
    gateway, dovecot, lovelace: SigningDomain
):
    """Else the mail would lie there until the next look, a minute later."""
    async with HoldingWire(dovecot.port).running() as wire:
        config = mailbox(dovecot, port=wire.port, security="plain", ca_file=None)
        async with Fetching(gateway, config).running():
            await asyncio.wait_for(wire.held.wait(), 20)
            await dovecot.append(lovelace.sign(plain_mail("Heard.\n").as_bytes()))
            assert [request.text for request in await gateway.requests(1)] == ["Heard."]


async def test_mail_that_comes_while_another_is_taken_in_does_not_wait_for_the_next_look(
    gateway, dovecot, lovelace: SigningDomain, monkeypatch
):
    """The server tells of it along with an answer about the other, and not again."""
    accept = Intake.accept
    second = lovelace.sign(plain_mail("Two.\n").as_bytes())

    async def accept_while_more_comes(self, arrival):
        monkeypatch.setattr(Intake, "accept", accept)
        await dovecot.append(second)
        return await accept(self, arrival)

    monkeypatch.setattr(Intake, "accept", accept_while_more_comes)
    await dovecot.append(lovelace.sign(plain_mail("One.\n").as_bytes()))
    async with Fetching(gateway, mailbox(dovecot)).running():
        assert [request.text for request in await gateway.requests(2)] == ["One.", "Two."]

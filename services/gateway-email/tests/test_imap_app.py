"""The service as a process that only has a mailbox: secrets, tokens, and a kill between storing a mail and deleting it."""

import asyncio
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import pytest

from airut_common.bus import Bus
from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.config.models import InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import TaskRequest
from airut_common.sealed import seal, sealed_key, service_public_key, store_sealed
from airut_gateway_email.testing.dovecot import PASSWORD, USER, Dovecot, dovecot_folder
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

pytestmark = pytest.mark.integration


@pytest.fixture
def folder() -> Iterator[Path]:
    with dovecot_folder() as path:
        yield path


def installation(zone: str, **imap: Any) -> InstallationConfig:
    return InstallationConfig.model_validate_json(
        json.dumps(
            {
                "email": {
                    "hostname": "airut.example",
                    "authentication": {"resolver": zone},
                    "relay": {"host": "127.0.0.1", "port": 1, "security": "plain"},
                    "imap": {"host": "127.0.0.1", "username": USER, "security": "plain"} | imap,
                },
                "repos": {
                    "demo": {
                        "address": "demo@airut.example",
                        "senders": ["ada@lovelace.example"],
                        "git": {"url": "https://git.example/x.git"},
                    }
                },
            }
        )
    )


@asynccontextmanager
async def service(nats_url: str, state: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "AIRUT_NATS_URL": nats_url,
        "AIRUT_STATE_DIR": str(state),
        "AIRUT_INSTALLATION": "test",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "airut_gateway_email", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def set_secret(bus: Bus, name: str, value: str) -> None:
    async with asyncio.timeout(30):
        while (public := await service_public_key(bus, "gateway-email")) is None:
            await asyncio.sleep(0.05)
    await store_sealed(bus, sealed_key("gateway-email", None, name), seal(public, value))


@asynccontextmanager
async def requests(bus: Bus) -> AsyncIterator[asyncio.Queue[TaskRequest]]:
    found: asyncio.Queue[TaskRequest] = asyncio.Queue()
    task = asyncio.ensure_future(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, found.put))
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Server(ABC):
    """Something that listens on loopback."""

    port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            server.abort_clients()

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client."""


class Line(_Server):
    """A wire to the mail server that is cut when the client wants to delete."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.deleting = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, out = await asyncio.open_connection("127.0.0.1", self._target)
        answers = asyncio.ensure_future(self._pass(upstream, writer))
        try:
            while line := await reader.readline():
                if b"STORE" in line or b"EXPUNGE" in line or b"MOVE" in line:
                    self.deleting.set()
                    await reader.read()  # until the client is gone
                    return
                out.write(line)
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            out.close()
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


async def test_killed_between_storing_and_deleting_a_mail_runs_once(
    nats_server, bus: Bus, zone, lovelace: SigningDomain, folder, tmp_path
):
    """Also when the mailbox has other UIDs by then."""
    server = Dovecot(folder)
    async with server.running(), Line(server.port).running() as line, requests(bus) as found:
        await apply_config(bus, installation(zone.endpoint, port=line.port, password_secret="IMAP_PASSWORD"))
        await server.append(lovelace.sign(plain_mail("Once.\n", subject="Once").as_bytes()))
        async with service(nats_server.url, tmp_path / "state") as process:
            await set_secret(bus, "IMAP_PASSWORD", PASSWORD)
            await asyncio.wait_for(line.deleting.wait(), 30)
            process.kill()
            await process.wait()
        assert (await asyncio.wait_for(found.get(), 10)).text == "Once."
        assert await server.subjects() == ["Once"]

        before = await server.ask(lambda client: client.select_folder("INBOX")[b"UIDVALIDITY"])
        await server.stop()
        server.new_uidvalidity()
        await server.start()
        assert await server.ask(lambda client: client.select_folder("INBOX")[b"UIDVALIDITY"]) != before

        await apply_config(
            bus, installation(zone.endpoint, port=server.port, password_secret="IMAP_PASSWORD")
        )
        async with service(nats_server.url, tmp_path / "state"):
            await server.wait_until("INBOX", [], seconds=30)
            await server.append(lovelace.sign(plain_mail("Another.\n").as_bytes()))
            assert (await asyncio.wait_for(found.get(), 20)).text == "Another."


class TokenServer(_Server):
    """An authorization server: tokens for a refresh token (RFC 6749 §6), and Dovecot's questions about them."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (
                int(row.partition(":")[2])
                for row in head.splitlines()
                if row.lower().startswith("content-length")
            ),
            0,
        )
        body = (await reader.readexactly(length)).decode()
        status, said = self._answer(head.split(" ", 2)[1], body)
        data = json.dumps(said).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + data
        )
        await writer.drain()
        writer.close()

    def _answer(self, path: str, body: str) -> tuple[int, dict[str, Any]]:
        if path.startswith("/info"):
            good = path.endswith("access-token")
            return (200, {"username": USER, "active": True}) if good else (401, {"error": "invalid_token"})
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.asked.append(form)
        if form.get("refresh_token") not in ("first", "second"):
            return 400, {"error": "invalid_grant", "error_description": "revoked"}
        return 200, {
            "access_token": f"{len(self.asked)}-access-token", "expires_in": 3600, "refresh_token": "second",
            "token_type": "Bearer",
        }  # fmt: skip


OAUTH2 = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {root}/oauth2.conf
}}
"""


async def test_a_refresh_token_opens_the_mailbox(
    nats_server, bus: Bus, zone, lovelace: SigningDomain, folder, tmp_path
):
    async with TokenServer().running() as tokens:
        (folder / "oauth2.conf").write_text(
            f"tokeninfo_url = http://127.0.0.1:{tokens.port}/info?access_token=\nusername_attribute = username\n"
            "active_attribute = active\nactive_value = true\n"
        )
        passwords = "\npassdb {{\n  driver = passwd-file\n  args = scheme=PLAIN {root}/users\n}}\n"
        server = Dovecot(folder, passdb=OAUTH2 + passwords)
        async with server.running(), requests(bus) as found:
            oauth2 = {
                "provider": "microsoft",
                "tenant": "example.org",
                "client_id": "an-id",
                "refresh_token_secret": "M365_REFRESH_TOKEN",
                "token_url": f"http://127.0.0.1:{tokens.port}/token",
            }
            await apply_config(bus, installation(zone.endpoint, port=server.port, oauth2=oauth2))
            state = tmp_path / "state"
            await server.append(lovelace.sign(plain_mail("With a token.\n").as_bytes()))
            async with service(nats_server.url, state):
                await set_secret(bus, "M365_REFRESH_TOKEN", "first")
                assert (await asyncio.wait_for(found.get(), 30)).text == "With a token."
            assert (state / "imap-refresh-token").stat().st_mode & 0o777 == 0o600
            await server.append(lovelace.sign(plain_mail("With the next.\n").as_bytes()))
            async with service(nats_server.url, state):
                assert (await asyncio.wait_for(found.get(), 30)).text == "With the next."
        assert [form["refresh_token"] for form in tokens.asked] == ["first", "second"]
        assert tokens.asked[0] == {
            "client_id": "an-id",
            "grant_type": "refresh_token",
            "refresh_token": "first",
            "scope": "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
        }

"""The whole service as its own process: configuration, secrets, mail in, reply out, live changes, an ordered stop."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosmtplib
import nkeys
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_common.bus import Bus, open_bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import ORCHESTRATOR_TASKS, STATUS_BUCKET, status_key
from airut_common.config.models import InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import Acknowledgement, Reply, ServiceEvent, TaskRequest, subjects, utc_now
from airut_gateway_email.testing.sink import MailSink
from airut_mail_auth.testing.crafting import Signer
from airut_mail_auth.testing.signing import SigningDomain, plain_mail


def _installation(zone: str, relay: int, **email: Any) -> InstallationConfig:
    return InstallationConfig.model_validate_json(
        json.dumps(
            {
                "email": {
                    "listen": "127.0.0.1:0",
                    "hostname": "airut.example",
                    "authentication": {"resolver": zone},
                    "relay": {"host": "127.0.0.1", "port": relay, "security": "plain"},
                }
                | email,
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
async def _process(
    nats_url: str, state: Path, seed: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "AIRUT_NATS_URL": nats_url,
        "AIRUT_STATE_DIR": str(state),
        "AIRUT_INSTALLATION": "test",
        "AIRUT_LOG_FORMAT": "json",
    }
    if seed is not None:
        environment["AIRUT_NKEY_SEED_FILE"] = str(seed)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "airut_gateway_email", env=environment, stderr=asyncio.subprocess.PIPE
    )
    drain = asyncio.ensure_future(process.stderr.read() if process.stderr else asyncio.sleep(0))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await drain


async def _address(bus: Bus, *, other_than: str = "") -> str:
    """Where the service listens, once it says so."""
    async with asyncio.timeout(30):
        async for entry in bus.kv_watch(STATUS_BUCKET, status_key("gateway-email")):
            if entry is not None and entry.value:
                address = str(json.loads(entry.value)["addresses"]["smtp"])
                if address != other_than:
                    return address
    raise AssertionError("the watch ended")


async def _send(address: str, data: bytes, sender: str = "ada@lovelace.example") -> str:
    host, _, port = address.rpartition(":")
    client = aiosmtplib.SMTP(hostname=host, port=int(port), start_tls=False)
    try:
        async with client:
            return (await client.sendmail(sender, "demo@airut.example", data))[1]
    except aiosmtplib.SMTPResponseException as error:
        return f"{error.code} {error.message}"


async def _request(bus: Bus) -> TaskRequest:
    found: asyncio.Queue[TaskRequest] = asyncio.Queue()
    task = asyncio.ensure_future(bus.consume(ORCHESTRATOR_TASKS, TaskRequest, found.put))
    try:
        return await asyncio.wait_for(found.get(), 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _event(bus: Bus, code: str) -> ServiceEvent:
    async with asyncio.timeout(20):
        async for message in bus.replay([subjects.service_event("gateway-email")]):
            event = ServiceEvent.decode(message.data)
            if event.code == code:
                return event
    raise AssertionError("the replay ended")


@pytest.fixture
async def sink() -> AsyncIterator[MailSink]:
    async with MailSink().running() as server:
        yield server


async def test_a_mail_comes_in_and_its_reply_goes_out(
    nats_server, bus: Bus, zone, lovelace: SigningDomain, sink, tmp_path
):
    await apply_config(bus, _installation(zone.endpoint, sink.port))
    async with _process(nats_server.url, tmp_path / "state") as process:
        address = await _address(bus)
        mail = plain_mail()
        assert "accepted as" in await _send(address, lovelace.sign(mail.as_bytes()))
        request = await _request(bus)
        answer = Reply(
            id=request.id, repo=request.repo, channel="email", conversation="c" * 32, outcome="done", text="Done.",
            route=request.route, created_at=utc_now(),
        )  # fmt: skip
        await bus.publish(subjects.reply("email", "demo"), answer, msg_id=answer.id)
        reply = await sink.next()
        assert reply.message["In-Reply-To"] == mail["Message-ID"]
        assert reply.message["Subject"] == "Re: The greeting"

        follow_up = plain_mail("Thanks, and now the other one.\n", In_Reply_To=reply.message["Message-ID"])
        await _send(address, lovelace.sign(follow_up.as_bytes()))
        assert (await _request(bus)).conversation == "c" * 32

        assert (await _send(address, plain_mail().as_bytes())).startswith("550")
        event = await _event(bus, "mail_refused")
        assert event.repo == "demo"
        assert "no DKIM signature" in event.text

        process.terminate()
        assert await asyncio.wait_for(process.wait(), 15) == 0
        assert not [entry async for entry in _present(bus)]


@pytest.mark.integration
async def test_a_mail_of_30_mb_leaves_the_memory_of_the_service_as_it_was(
    nats_server, bus: Bus, zone, lovelace: SigningDomain, sink, tmp_path
):
    signer = Signer("lovelace.example", "large", Ed25519PrivateKey.generate())
    zone.texts("large._domainkey.lovelace.example", signer.record)
    await apply_config(bus, _installation(zone.endpoint, sink.port, max_message_bytes=64_000_000))
    async with _process(nats_server.url, tmp_path / "state") as process:
        address = await _address(bus)

        async def send(size: int) -> None:
            mail = plain_mail()
            mail.add_attachment(
                os.urandom(size), maintype="application", subtype="x-thing", filename="thing.bin"
            )
            assert "accepted as" in await _send(address, signer.dkim(mail.as_bytes(), at=int(time.time())))
            assert (await _request(bus)).attachments[0].size_bytes == size

        await send(2_000_000)  # has everything loaded that is needed
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak is counted from now on (proc(5))
        before = _memory_mib(process, "VmRSS")
        await send(30_000_000)
        assert _memory_mib(process, "VmHWM") - before < 10


async def test_a_service_that_is_killed_while_a_large_mail_comes_leaves_nothing_of_it(
    nats_server, bus: Bus, zone, sink, tmp_path
):
    await apply_config(bus, _installation(zone.endpoint, sink.port))
    state = tmp_path / "state"
    async with _process(nats_server.url, state) as process:
        host, _, port = (await _address(bus)).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await reader.readline()
        for command in ("HELO a.example", "MAIL FROM:<a@b.example>", "RCPT TO:<demo@airut.example>", "DATA"):
            writer.write(command.encode() + b"\r\n")
            assert (await reader.readline())[:1] in (b"2", b"3")
        before = {entry.name for entry in state.iterdir()}
        writer.write((b"x" * 70 + b"\r\n") * 100_000)
        async with asyncio.timeout(20):
            while not any(str(state) in target for target in _open_without_name(process.pid)):
                await asyncio.sleep(0)
        process.kill()
        await process.wait()
        writer.close()
    assert {entry.name for entry in state.iterdir()} == before


def _open_without_name(process: int) -> list[str]:
    targets = []
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(entry.readlink()))
    return [target for target in targets if target.endswith("(deleted)")]


def _memory_mib(process: asyncio.subprocess.Process, name: str) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


async def test_the_answer_to_an_acknowledgement_goes_on_with_its_conversation(
    nats_server, bus: Bus, zone, lovelace: SigningDomain, sink, tmp_path
):
    await apply_config(bus, _installation(zone.endpoint, sink.port))
    async with _process(nats_server.url, tmp_path / "state"):
        address = await _address(bus)
        mail = plain_mail()
        await _send(address, lovelace.sign(mail.as_bytes()))
        request = await _request(bus)
        taken = Acknowledgement(
            id=request.id, repo=request.repo, channel="email", conversation="c" * 32, place=2, waits_for="turn",
            route=request.route, created_at=utc_now(),
        )  # fmt: skip
        await bus.publish(subjects.acknowledgement("email", "demo"), taken, msg_id=f"taken-{taken.id}")
        told = await sink.next()
        assert (told.recipients, told.message["In-Reply-To"]) == (
            ("ada@lovelace.example",),
            mail["Message-ID"],
        )
        assert "place 2" in told.message.get_content()
        more = plain_mail("And the other one, too.\n", In_Reply_To=told.message["Message-ID"])
        assert "accepted as" in await _send(address, lovelace.sign(more.as_bytes()))
        assert (await _request(bus)).conversation == "c" * 32
        # What a mail program answers to it by itself, or sends back, is not taken.
        vacation = plain_mail(
            "I am away.\n", In_Reply_To=told.message["Message-ID"], Auto_Submitted="auto-replied"
        )
        assert "automatic mail" in await _send(address, lovelace.sign(vacation.as_bytes()))
        assert sink.mails.empty()


async def test_its_own_identity_on_the_bus_is_enough(zone, lovelace: SigningDomain, sink, tmp_path):
    """With its nkey's permissions alone: configuration, secrets, files both ways, requests, replies, status, events."""
    public = {}
    for identity in ("admin", "gateway-email"):
        seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
        (tmp_path / identity).write_bytes(seed)
        public[identity] = nkeys.from_seed(bytearray(seed)).public_key.decode()
    server = NatsServer(tmp_path / "nats", nkeys=public)
    async with server.running(), open_bus(server.url, name="admin", nkey_seed_file=tmp_path / "admin") as bus:
        await bus.ensure_topology()
        await apply_config(bus, _installation(zone.endpoint, sink.port))
        async with _process(server.url, tmp_path / "state", tmp_path / "gateway-email"):
            address = await _address(bus)
            mail = plain_mail()
            mail.add_attachment(b"in" * 200_000, maintype="image", subtype="png", filename="in.png")
            assert "accepted as" in await _send(address, lovelace.sign(mail.as_bytes()))
            request = await _request(bus)
            assert await bus.get_blob(request.attachments[0]) == b"in" * 200_000
            blob = await bus.put_blob(b"out" * 200_000, name="out.bin", media_type="application/x-out")
            answer = Reply(
                id=request.id, repo=request.repo, channel="email", conversation="c" * 32, outcome="done", text="Done.",
                route=request.route, created_at=utc_now(), attachments=(blob,),
            )  # fmt: skip
            await bus.publish(subjects.reply("email", "demo"), answer, msg_id=answer.id)
            [file] = (await sink.next()).message.iter_attachments()
            assert file.get_payload(decode=True) == b"out" * 200_000
            taken = Acknowledgement(
                id="t1", repo="demo", channel="email", conversation="c" * 32, place=1, route=request.route,
                created_at=utc_now(),
            )  # fmt: skip
            await bus.publish(subjects.acknowledgement("email", "demo"), taken, msg_id="taken-t1")
            assert "was taken" in (await sink.next()).message.get_content()
            assert (await _event(bus, "ready")).service == "gateway-email"


async def _present(bus: Bus) -> AsyncIterator[str]:
    async for entry in bus.kv_watch(STATUS_BUCKET, status_key("gateway-email")):
        if entry is None:
            return
        if entry.value:
            yield entry.key


async def test_changes_take_effect_while_it_runs(
    nats_server, bus: Bus, zone, lovelace: SigningDomain, sink, tmp_path
):
    installation = _installation(zone.endpoint, sink.port)
    await apply_config(bus, installation)
    async with _process(nats_server.url, tmp_path / "state"):
        address = await _address(bus)
        bob = lovelace.sign(plain_mail(sender="bob@lovelace.example").as_bytes())
        assert "not on the sender list" in await _send(address, bob)

        repo = installation.repos["demo"].model_copy(update={"senders": ("*@lovelace.example",)})
        await apply_config(bus, installation.model_copy(update={"repos": {"demo": repo}}))
        async with asyncio.timeout(10):
            while "accepted as" not in await _send(address, bob):
                await asyncio.sleep(0.05)

        # A group that nothing but the server's own key tells of.
        repo = installation.repos["demo"].model_copy(update={"senders": ("group:team",)})
        groups = {"team": ("ada@lovelace.example",)}
        grouped = installation.model_copy(update={"repos": {"demo": repo}, "groups": groups})
        await apply_config(bus, grouped)
        async with asyncio.timeout(10):
            while "not on the sender list" not in await _send(address, bob):
                await asyncio.sleep(0.05)
        groups = {"team": ("ada@lovelace.example", "bob@lovelace.example")}
        assert await apply_config(bus, grouped.model_copy(update={"groups": groups})) == ["server changed"]
        async with asyncio.timeout(10):
            while "accepted as" not in await _send(address, bob):
                await asyncio.sleep(0.05)

        moved = _installation(zone.endpoint, sink.port, listen="localhost:0", max_message_bytes=2048)
        await apply_config(bus, moved)
        fresh = await _address(bus, other_than=address)
        answer = await _send(fresh, lovelace.sign(plain_mail("x\n" * 3000).as_bytes()))
        assert answer.startswith("552")


async def test_settings_that_are_missing_are_named(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "airut_gateway_email",
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert b"AIRUT_NATS_URL is not set" in said


async def test_no_email_section_ends_with_a_reason(nats_server, bus: Bus, tmp_path):
    await apply_config(bus, InstallationConfig())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "airut_gateway_email",
        env={"PATH": os.environ["PATH"], "AIRUT_NATS_URL": nats_server.url, "AIRUT_STATE_DIR": str(tmp_path / "s"), "AIRUT_INSTALLATION": "test"},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert b"no email section" in said

"""Replies from the bus to a real mail server: sent once, retried when it helps, refused for good otherwise."""

import asyncio
import contextlib
import io
import os
import ssl
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_common.bus import Bus, Reject, Retry
from airut_common.bus.topology import EMAIL_ACKNOWLEDGEMENTS, EMAIL_REPLIES
from airut_common.config.dkim import DkimConfig
from airut_common.config.models import RelayConfig
from airut_common.contracts.v1 import Acknowledgement, Reply, subjects, utc_now
from airut_common.secrets import Secret
from airut_common.testing.builders import acknowledgement, email_route, reply
from airut_gateway_email import ledger as ledger_module
from airut_gateway_email.handlers import (
    PACKED_NOTE,
    TOO_LARGE_NOTE,
    AcknowledgementHandler,
    Outbound,
    ReplyHandler,
)
from airut_gateway_email.ledger import SentLedger
from airut_gateway_email.sending import Sending
from airut_gateway_email.signing import MailSigner
from airut_gateway_email.smtp_out import Relay
from airut_gateway_email.testing.sink import MailSink

PEM = (
    Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)


class WayOut:
    """The reply consumer with a relay of a test's choice."""

    def __init__(self, bus: Bus, sink: MailSink, state: Path) -> None:
        self.bus = bus
        self.config: dict[str, Any] = {"host": "127.0.0.1", "port": sink.port, "security": "plain"}
        self.events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.secret: Secret | None = None
        self.dkim: DkimConfig | None = None
        self.ledger = SentLedger(state / "sent")
        self.sending = Sending()
        relay = Relay(lambda: RelayConfig(**self.config), lambda _name: self.secret)
        signer = MailSigner(lambda: self.dkim, lambda _name: self.secret)
        out = Outbound(
            relay,
            signer,
            self.ledger,
            self.sending,
            hostname=lambda: "airut.example",
            addresses=lambda _repo: ("demo@airut.example", "help@airut.example"),
        )
        self.handler = ReplyHandler(bus, out, self._report)
        self.acknowledge = AcknowledgementHandler(out)

    async def _report(self, _level: str, code: str, text: str, repo: str | None = None) -> None:
        self.events.put_nowait((code, text))

    async def event(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.events.get(), 20)

    async def tell(self, taken: Acknowledgement) -> Acknowledgement:
        await self.bus.publish(subjects.acknowledgement("email", taken.repo), taken)
        return taken

    async def publish(self, answer: Reply) -> Reply:
        await self.bus.publish(subjects.reply("email", answer.repo), answer, msg_id=answer.id)
        return answer


@pytest.fixture
async def sink() -> AsyncIterator[MailSink]:
    async with MailSink().running() as server:
        yield server


@pytest.fixture
async def way_out(bus: Bus, sink: MailSink, tmp_path: Path, monkeypatch) -> AsyncIterator[WayOut]:
    monkeypatch.setattr(ledger_module, "FIRST_RETRY", timedelta(milliseconds=50))
    way = WayOut(bus, sink, tmp_path)
    tasks = [
        asyncio.ensure_future(bus.consume(EMAIL_REPLIES, Reply, way.handler, concurrency=2)),
        asyncio.ensure_future(bus.consume(EMAIL_ACKNOWLEDGEMENTS, Acknowledgement, way.acknowledge)),
    ]
    yield way
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def emptied(bus: Bus, stream: str = "AIRUT_REPLIES") -> None:
    async with asyncio.timeout(20):
        while await bus.stream_size(stream):
            await asyncio.sleep(0.02)


async def test_a_reply_is_delivered_with_its_files(way_out: WayOut, sink: MailSink):
    blob = await way_out.bus.put_blob(b"\x00data", name="out.bin", media_type="application/x-out")
    answer = await way_out.publish(reply(attachments=(blob,)))
    mail = await sink.next()
    assert mail.mail_from == "demo@airut.example"
    assert mail.recipients == ("ada@lovelace.example",)
    assert [part.get_filename() for part in mail.message.iter_attachments()] == ["out.bin"]
    await emptied(way_out.bus)
    assert answer.id in way_out.ledger


@pytest.mark.parametrize(
    ("begun_to", "sender"),
    [("help@airut.example", "help@airut.example"), ("gone@airut.example", "demo@airut.example")],
)
async def test_an_answer_comes_from_where_the_thread_was_begun_to_while_that_is_ours(
    way_out: WayOut, sink: MailSink, begun_to: str, sender: str
):
    await way_out.publish(reply(route=email_route(from_address=begun_to)))
    mail = await sink.next()
    assert (mail.mail_from, mail.message["From"]) == (sender, f"Airut demo <{sender}>")


async def test_row_54_a_redelivery_is_not_sent_again(way_out: WayOut, sink: MailSink):
    answer = reply()
    await way_out.publish(answer)
    await sink.next()
    await way_out.bus.publish(subjects.reply("email", "demo"), answer, msg_id="another")
    await emptied(way_out.bus)
    assert sink.mails.empty()
    assert sink.attempts == 1


async def test_a_temporary_failure_is_tried_again(way_out: WayOut, sink: MailSink):
    sink.answers += ["451 4.3.0 not now", "421 4.3.2 not now either"]
    await way_out.publish(reply())
    await sink.next()
    assert sink.attempts == 3
    code, text = await way_out.event()
    assert code == "reply_delayed"
    assert "451" in text


async def test_a_relay_that_is_away_is_waited_for(bus: Bus, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ledger_module, "FIRST_RETRY", timedelta(milliseconds=50))
    sink = MailSink()
    async with sink.running():
        port = sink.port
    way = WayOut(bus, sink, tmp_path)
    task = asyncio.ensure_future(bus.consume(EMAIL_REPLIES, Reply, way.handler))
    await way.publish(reply())
    assert (await way.event())[0] == "reply_delayed"
    async with sink.running(port):
        await sink.next()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_permanent_failure_is_a_dead_letter_and_the_next_reply_is_unharmed(
    way_out: WayOut, sink: MailSink
):
    sink.answers.append("554 5.7.1 we do not want this")
    await way_out.publish(reply(text="unwanted"))
    code, text = await way_out.event()
    assert code == "reply_refused"
    assert "554" in text
    await emptied(way_out.bus)
    assert await way_out.bus.stream_size("AIRUT_DEAD") == 1
    await way_out.publish(reply(text="wanted"))
    assert "wanted" in (await sink.next()).data.decode()


async def test_a_recipient_that_is_none_is_a_dead_letter(way_out: WayOut):
    await way_out.publish(reply(route=email_route(recipient="ada@lovelace.example\r\nBcc: x@y.example")))
    assert (await way_out.event())[0] == "reply_refused"
    await emptied(way_out.bus)
    assert await way_out.bus.stream_size("AIRUT_DEAD") == 1


async def test_too_large_files_are_left_out_and_named(way_out: WayOut, sink: MailSink):
    sink.answers.append("552 5.3.4 too much")
    blob = await way_out.bus.put_blob(b"x", name="big.bin", media_type="application/x-out")
    await way_out.publish(reply(attachments=(blob,)))
    mail = await sink.next()
    assert list(mail.message.iter_attachments()) == []
    body = mail.message.get_body(("plain",))
    assert body is not None
    assert TOO_LARGE_NOTE in body.get_content()


async def test_a_lost_file_is_named(way_out: WayOut, sink: MailSink):
    blob = await way_out.bus.put_blob(b"x", name="gone.bin", media_type="application/x-out")
    await way_out.publish(reply(attachments=(blob.model_copy(update={"blob": "nowhere"}),)))
    body = (await sink.next()).message.get_body(("plain",))
    assert body is not None
    assert "gone.bin is no longer in the store" in body.get_content().replace("\n", " ")


async def test_files_above_the_relays_limit_are_named_with_their_size_and_not_sent(bus: Bus, tmp_path: Path):
    async with MailSink(size=20_000).running() as small:
        way = WayOut(bus, small, tmp_path)
        blob = await bus.put_blob(os.urandom(30_000), name="big.bin", media_type="application/x-out")
        await way.handler(reply(attachments=(blob,)))
        body = (await small.next()).message.get_body(("plain",))
        assert small.attempts == 1
    assert body is not None
    assert "big.bin (30,000 bytes)" in body.get_content().replace("\n", " ")


async def test_files_that_only_fit_as_an_archive_are_sent_as_one(bus: Bus, tmp_path: Path):
    async with MailSink(size=20_000).running() as small:
        way = WayOut(bus, small, tmp_path)
        blobs = [
            await bus.put_blob(letter * 20_000, name=name, media_type="text/plain")
            for letter, name in ((b"a", "log.txt"), (b"b", "LOG.txt"))
        ]
        await way.handler(reply(attachments=tuple(blobs)))
        mail = (await small.next()).message
    [part] = mail.iter_attachments()
    assert (part.get_filename(), part.get_content_type()) == ("files.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(part.get_content())) as archive:
        assert {name: archive.read(name)[:1] for name in archive.namelist()} == {
            "log.txt": b"a",
            "2-LOG.txt": b"b",
        }
    body = mail.get_body(("plain",))
    assert body is not None
    assert PACKED_NOTE in " ".join(body.get_content().split())


async def test_the_next_mail_goes_over_the_same_connection(way_out: WayOut, sink: MailSink):
    for _ in range(5):
        await way_out.publish(reply())
        await sink.next()
        await emptied(way_out.bus)
    assert sink.connections == 1


async def test_a_refusal_does_not_spoil_the_next_mail(way_out: WayOut, sink: MailSink):
    sink.answers.append("554 5.7.1 we do not want this")
    await way_out.publish(reply())
    await way_out.event()
    await way_out.publish(reply())
    await sink.next()
    assert sink.attempts == 2


async def test_a_kept_connection_that_the_relay_closed_is_replaced(bus: Bus, sink: MailSink, tmp_path: Path):
    way = WayOut(bus, sink, tmp_path)
    await way.handler(reply())
    port = sink.port
    for transport in sink.transports:
        transport.abort()
    await way.handler(reply())
    assert sink.mails.qsize() == 2
    assert (sink.connections, sink.port) == (2, port)


async def test_after_two_days_the_operator_hears_the_relays_words(bus: Bus, sink: MailSink, tmp_path: Path):
    sink.answers.append("451 4.3.0 the disk is full")
    way = WayOut(bus, sink, tmp_path)
    with pytest.raises(Reject, match="the disk is full"):
        await way.handler(reply(created_at=utc_now() - timedelta(days=2)))
    code, text = await way.event()
    assert code == "reply_refused"
    assert "ada@lovelace.example" in text
    assert "the disk is full" in text


async def test_stopping_finishes_what_is_under_way_and_begins_nothing(way_out: WayOut, sink: MailSink):
    await way_out.publish(reply())
    await sink.next()
    await way_out.sending.finish(5)
    with pytest.raises(Retry):
        await way_out.handler(reply())
    assert sink.attempts == 1


# -- acknowledgements --------------------------------------------------------------------------------------


async def test_an_acknowledgement_is_sent_once(way_out: WayOut, sink: MailSink):
    sink.answers.append("451 4.3.0 not now")
    taken = await way_out.tell(acknowledgement(route=email_route(from_address="gone@airut.example")))
    mail = await sink.next()
    assert (mail.mail_from, mail.recipients) == ("demo@airut.example", ("ada@lovelace.example",))
    await way_out.tell(taken)
    await emptied(way_out.bus)
    assert sink.mails.empty()
    assert sink.attempts == 2
    await way_out.publish(reply(id=taken.id, conversation=taken.conversation))
    assert "Done" in (await sink.next()).message.get_body(("plain",)).get_content()


async def test_who_has_the_answer_is_not_told_that_it_will_come(way_out: WayOut, sink: MailSink):
    answer = await way_out.publish(reply())
    await sink.next()
    await emptied(way_out.bus)
    await way_out.tell(acknowledgement(id=answer.id, conversation=answer.conversation))
    await emptied(way_out.bus)
    assert sink.attempts == 1


async def test_an_acknowledgement_that_cannot_be_sent_is_let_go(way_out: WayOut, sink: MailSink):
    sink.answers += ["550 5.1.1 no such mailbox", "451 4.3.0 not now"]
    await way_out.tell(acknowledgement())
    await emptied(way_out.bus)
    await way_out.tell(acknowledgement(created_at=utc_now() - timedelta(hours=1)))
    await way_out.tell(acknowledgement(route=email_route(recipient="nobody")))
    await emptied(way_out.bus)
    assert sink.attempts == 2
    assert await way_out.bus.stream_size("AIRUT_DEAD") == 0
    assert way_out.events.empty()


async def test_an_acknowledgement_is_signed_like_an_answer(way_out: WayOut, sink: MailSink):
    way_out.dkim = DkimConfig(domain="airut.example", selector="a1", key_secret="DKIM_KEY")
    way_out.secret = Secret(PEM)
    await way_out.tell(acknowledgement())
    assert b"DKIM-Signature: v=1; a=ed25519-sha256;" in (await sink.next()).data


async def test_stopping_begins_no_acknowledgement(way_out: WayOut, sink: MailSink):
    await way_out.sending.finish(5)
    with pytest.raises(Retry):
        await way_out.acknowledge(acknowledgement())
    assert sink.attempts == 0


# -- TLS and login (row 70) --------------------------------------------------------------------------------


@pytest.fixture
def authority(certificate: tuple[Path, Path]) -> tuple[Path, ssl.SSLContext]:
    """A certificate for localhost, and a context that serves it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return certificate[0], context


async def test_row_70_starttls_with_a_verified_certificate_and_a_login(way_out: WayOut, authority):
    ca_file, context = authority
    async with MailSink(tls=context, login=("airut", "s3cret-value")).running() as server:
        way_out.secret = Secret("s3cret-value")
        way_out.config = {
            "host": "localhost", "port": server.port, "security": "starttls", "ca_file": ca_file,
            "username": "airut", "password_secret": "SMTP_PASSWORD",
        }  # fmt: skip
        await way_out.publish(reply())
        await server.next()


async def test_row_70_an_unverified_certificate_gets_no_mail(way_out: WayOut, authority):
    _, context = authority
    async with MailSink(tls=context).running() as server:
        way_out.config = {"host": "localhost", "port": server.port, "security": "starttls"}
        await way_out.publish(reply())
        code, text = await way_out.event()
        assert code == "reply_delayed"
        assert "certificate" in text.lower()
        assert server.attempts == 0


async def test_row_70_a_relay_without_starttls_gets_no_mail(way_out: WayOut, sink: MailSink):
    way_out.config = {"host": "localhost", "port": sink.port, "security": "starttls"}
    await way_out.publish(reply())
    assert (await way_out.event())[0] == "reply_delayed"
    assert sink.attempts == 0


@pytest.mark.parametrize("secret", [None, Secret("wrong-password")])
async def test_a_missing_or_wrong_password_waits_for_the_operator(
    way_out: WayOut, authority, secret: Secret | None
):
    ca_file, context = authority
    async with MailSink(tls=context, login=("airut", "s3cret-value")).running() as server:
        way_out.secret = secret
        way_out.config = {
            "host": "localhost", "port": server.port, "security": "starttls", "ca_file": ca_file,
            "username": "airut", "password_secret": "SMTP_PASSWORD",
        }  # fmt: skip
        await way_out.publish(reply())
        code, text = await way_out.event()
        assert code == "reply_delayed"
        assert "wrong-password" not in text
        assert ("SMTP_PASSWORD is not set" in text) == (secret is None)
        way_out.secret = Secret("s3cret-value")
        await server.next()


async def test_implicit_tls(way_out: WayOut, authority):
    ca_file, context = authority
    plain = MailSink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(plain._connection, "127.0.0.1", 0, ssl=context)
    way_out.config = {
        "host": "localhost", "port": server.sockets[0].getsockname()[1], "security": "tls", "ca_file": ca_file,
    }  # fmt: skip
    await way_out.publish(reply())
    await plain.next()
    server.close()
    with contextlib.suppress(AttributeError):
        server.abort_clients()


async def test_an_answer_without_its_signature_waits(way_out: WayOut, sink: MailSink):
    way_out.dkim = DkimConfig(domain="airut.example", selector="a1", key_secret="DKIM_KEY")
    await way_out.publish(reply())
    assert "DKIM_KEY is not set" in (await way_out.event())[1]
    way_out.secret = Secret(PEM)
    mail = await sink.next()
    assert b"DKIM-Signature: v=1; a=ed25519-sha256;" in mail.data

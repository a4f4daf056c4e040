"""Large mails: whole on the bus, or not taken and sent again; whatever happens, nothing of them stays on the disk."""

import asyncio
import base64
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_common.testing.processes import children, ended
from airut_gateway_email.large import reader
from airut_gateway_email.spool import IN_MEMORY_BYTES
from airut_mail_auth.testing.crafting import Signer

from .conftest import Gateway, dot_stuffed

pytestmark = pytest.mark.integration

MB = 1_000_000
BEGIN = ("EHLO a.example", "MAIL FROM:<ada@lovelace.example>", "RCPT TO:<demo@airut.example>", "DATA")


class Ada:
    """Writes large mails; her signatures are made in the time that it takes to hash them."""

    def __init__(self, zone: Any) -> None:
        self._signer = Signer("lovelace.example", "large", Ed25519PrivateKey.generate())
        zone.texts("large._domainkey.lovelace.example", self._signer.record)

    def written(self, body: bytes, kind: str = "multipart/mixed; boundary=b", more: str = "") -> bytes:
        head = (
            f"From: ada@lovelace.example\r\nTo: demo@airut.example\r\nSubject: Large\r\nDate: {formatdate()}\r\n"
            f"Message-ID: <{random.getrandbits(64)}@lovelace.example>\r\nMIME-Version: 1.0\r\n{more}"
            f"Content-Type: {kind}\r\n\r\n"
        )
        return head.encode() + body

    def mail(self, body: bytes, kind: str = "multipart/mixed; boundary=b") -> bytes:
        return self._signer.dkim(self.written(body, kind), at=int(time.time()))

    def attached(self, *files: bytes) -> bytes:
        parts = [b"--b\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n"]
        for number, file in enumerate(files):
            parts += [
                f"--b\r\nContent-Type: application/x-thing; name=file{number}\r\n".encode(),
                b"Content-Transfer-Encoding: base64\r\n\r\n",
                base64.encodebytes(file).replace(b"\n", b"\r\n"),
            ]
        return self.mail(b"".join([*parts, b"--b--\r\n"]))


@pytest.fixture
def ada(gateway: Gateway, zone, lovelace) -> Ada:
    gateway.max_message_bytes = 64 * MB
    return Ada(zone)


def spooled(gateway: Gateway) -> list[str]:
    """Files beneath the spool folder that this process holds open without a name, and those with one."""
    found = [entry.name for entry in gateway.spool.iterdir() if entry.is_file()]
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(str(gateway.spool)) and target.endswith("(deleted)"):
            found.append(target)
    return found


async def until(condition: Any) -> Any:
    async with asyncio.timeout(20):
        while not (found := condition()):
            await asyncio.sleep(0)
    return found


def workers(parent: int | None = None) -> list[int]:
    """Processes of ours, or of another process, that take a mail apart."""
    found = []
    for child in children(parent or os.getpid()):
        try:
            if b"large.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue
    return found


async def test_its_files_arrive_whole_and_nothing_stays_behind(gateway, ada: Ada):
    one, two = random.randbytes(30 * MB), random.randbytes(3)
    answer = await gateway.send(ada.attached(one, two))
    [request] = await gateway.requests(1)
    assert answer == f"250 2.6.0 accepted as {request.id}"
    assert (request.subject, request.text) == ("Large", "See the files.")
    assert [(file.name, file.media_type, file.size_bytes) for file in request.attachments] == [
        ("file0", "application/x-thing", len(one)),
        ("file1", "application/x-thing", len(two)),
    ]
    assert [file.sha256 for file in request.attachments] == [
        hashlib.sha256(data).hexdigest() for data in (one, two)
    ]
    assert await gateway.bus.get_blob(request.attachments[1]) == two
    assert spooled(gateway) == []


async def test_dots_and_the_signature_survive_the_disk(gateway, ada: Ada):
    text = b"..dots\r\n.\r\n" + b".x \t y\r\n" * 400_000
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nSee.\r\n--b\r\nContent-Type: text/x-log\r\n\r\n"
        + text
        + b"--b--\r\n"
    )
    assert (await gateway.send(ada.mail(body))).startswith("250")
    [request] = await gateway.requests(1)
    assert await gateway.bus.get_blob(request.attachments[0]) == text.removesuffix(b"\r\n")
    broken = ada.mail(body).replace(b".x \t y\r\n--b--", b".x \t z\r\n--b--")
    assert "the body was changed" in await gateway.send(broken)
    assert spooled(gateway) == []


async def test_a_text_too_long_for_the_bus_is_told_so_whoever_reads_it(gateway, ada: Ada):
    mail = ada.mail(b"many words\r\n" * 200_000, "text/plain")
    assert len(mail) > IN_MEMORY_BYTES
    assert (await gateway.send(mail)).startswith("552 5.3.4 the text of the mail is too long")


async def test_quoted_history_is_left_out_and_comes_as_a_file(gateway, ada: Ada):
    body = b"Fix it.\r\n\r\nOn 1 Nov 2026, demo@airut.example wrote:\r\n" + b"> old words\r\n" * 100_000
    assert (await gateway.send(ada.mail(body, "text/plain"))).startswith("250")
    [request] = await gateway.requests(1)
    assert request.text.startswith("Fix it.\n\n[Quoted mail")
    assert request.route.question == "Fix it."
    [whole] = request.attachments
    assert (await gateway.bus.get_blob(whole)).count(b"> old words") == 100_000


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (lambda ada: ada.written(b"x\r\n", more="X-Long: x\r\n" + (" folded" * 10 + "\r\n") * 400_000), "554 5.6.0"),
        (lambda ada: ada.written(b"x\r\n", more=f"X-Long: {'x' * 30 * MB}\r\n"), "550 5.6.0"),
        (lambda ada: ada.mail(b"--b\r\n\r\ntiny part\r\n" * 100_000 + b"--b--\r\n"), "554 5.6.0"),
        (
            lambda ada: ada.mail(
                b"".join(
                    b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (depth, depth + 1)
                    for depth in range(20_000)
                ),
                "multipart/mixed; boundary=b0",
            ),
            "554 5.6.0",
        ),
        (
            lambda ada: ada.mail(
                b"".join(
                    b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n%b\r\n" % (depth, depth + 1, b"x" * 900)
                    for depth in range(25)
                )
                + b"filling\r\n" * 200_000,
                "multipart/mixed; boundary=b0",
            ),
            "554 5.6.0",
        ),
        (lambda ada: ada.written(b"=\0\r\n" * MB, "text/plain"), "554 5.6.0"),
    ],
    ids=["folded header", "one header line", "many parts", "very deep", "deep", "NUL"],
)  # fmt: skip
async def test_row_35_what_is_meant_to_exhaust_us_is_refused(gateway, ada: Ada, make: Any, answer: str):
    mail = make(ada)
    assert len(mail) > IN_MEMORY_BYTES
    assert (await gateway.send(mail)).startswith(answer)
    assert spooled(gateway) == []
    assert (await gateway.send(ada.attached(b"small"))).startswith("250")


async def test_a_mail_of_a_stranger_starts_no_process(gateway, ada: Ada):
    forged = ada.attached(random.randbytes(2 * MB)).replace(b"ada@lovelace.example", b"eve@lovelace.example")
    sending = asyncio.ensure_future(gateway.send(forged))
    while not sending.done():
        assert workers() == []
        await asyncio.sleep(0)
    assert (await sending).startswith("550 5.7.1")


async def test_who_breaks_off_halfway_leaves_nothing(gateway, ada: Ada):
    half = dot_stuffed(ada.attached(random.randbytes(20 * MB)))[: 12 * MB]
    for end in ("close", "abort", "eof"):
        async with gateway.session() as session:
            await session.answer()
            for command in BEGIN:
                await session.say(command)
            session.writer.write(half)
            await session.writer.drain()
            await until(lambda: spooled(gateway))
            match end:
                case "abort":
                    session.writer.transport.abort()
                case "eof":
                    session.writer.write_eof()
                case "close":
                    session.writer.close()
            await until(lambda: not spooled(gateway))
    assert (await gateway.send(ada.attached(b"small"))).startswith("250")


async def test_who_sends_slowly_is_cut_off_and_leaves_nothing(gateway, ada: Ada, monkeypatch):
    monkeypatch.setattr("airut_gateway_email.smtp_in.session.TRANSFER_SECONDS", 2)
    data = dot_stuffed(ada.attached(random.randbytes(20 * MB)))
    async with gateway.session() as session:
        await session.answer()
        for command in BEGIN:
            await session.say(command)
        session.writer.write(data[: 2 * MB])
        await until(lambda: spooled(gateway))
        assert (await session.answer()).startswith("421 4.4.2")
        await until(lambda: not spooled(gateway))


async def test_who_sends_far_more_than_he_may_is_not_heard_out(gateway, ada: Ada):
    gateway.max_message_bytes = 2 * MB
    async with gateway.session() as session:
        await session.answer()
        for command in BEGIN:
            await session.say(command)

        async def pour() -> None:
            while True:
                session.writer.write(b"x" * 70 + b"\r\n")
                await session.writer.drain()

        pouring = asyncio.ensure_future(pour())
        # What is still on its way resets the connection, maybe before the answer is read.
        with suppress(ConnectionError):
            assert (await session.answer()).startswith("552 5.3.4 the mail is larger than 2000000 bytes")
        assert isinstance((await asyncio.gather(pouring, return_exceptions=True))[0], ConnectionError)
    assert spooled(gateway) == []
    assert [error.code for error in gateway.refusals] == [552]


@pytest.fixture
async def sent(gateway: Gateway, ada: Ada) -> AsyncIterator[tuple[bytes, "asyncio.Future[str]"]]:
    """A large mail, and the answer to it."""
    mail = ada.attached(random.randbytes(2 * MB))
    answer = asyncio.ensure_future(gateway.send(mail))
    yield mail, answer
    answer.cancel()


async def accepted_once(gateway: Gateway, mail: bytes, size: int = 2 * MB) -> None:
    """The sender tries again, and loses the answer once."""
    answers = {await gateway.send(mail) for _ in range(2)}
    [request] = await gateway.requests(1)
    assert answers == {f"250 2.6.0 accepted as {request.id}"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gateway.requests(1), 1)
    assert request.attachments[0].size_bytes == size


async def test_a_killed_worker_is_451_and_the_next_try_is_accepted_once(gateway, sent):
    mail, answer = sent
    [worker] = await until(workers)
    os.kill(worker, signal.SIGKILL)
    assert (await answer).startswith("451 4.3.0")
    assert spooled(gateway) == []
    await accepted_once(gateway, mail)


async def test_a_worker_without_enough_time_is_451(gateway, sent, monkeypatch):
    mail, answer = sent
    monkeypatch.setattr(reader, "SECONDS", 1)
    [worker] = await until(workers)
    os.kill(worker, signal.SIGSTOP)
    assert (await answer).startswith("451 4.3.0")
    assert workers() == []
    monkeypatch.undo()
    await accepted_once(gateway, mail)


async def test_a_worker_without_enough_memory_is_451(gateway, ada: Ada, monkeypatch):
    mail, smaller = (ada.attached(random.randbytes(size * MB)) for size in (20, 1))
    monkeypatch.setattr(reader, "MEMORY_BYTES", 120 * MB)
    assert (await gateway.send(mail)).startswith("451 4.3.0")
    assert (await gateway.send(smaller)).startswith("250")
    await gateway.requests(1)
    monkeypatch.undo()
    await accepted_once(gateway, mail, 20 * MB)


READS = """
import asyncio, sys
from pathlib import Path
from airut_gateway_email.large.reader import LargeMails
from airut_gateway_email.spool import SpoolFile

async def main(folder: Path) -> None:
    with SpoolFile.make(folder) as mail:
        mail.write(sys.stdin.buffer.read())
        async with LargeMails(folder).reading(mail, (), continues=False):
            pass

asyncio.run(main(Path(sys.argv[1])))
"""


def is_confined(worker: int) -> bool:
    """Whether it has come so far that it begins with its mail."""
    return f"Max address space         {reader.MEMORY_BYTES}" in Path(f"/proc/{worker}/limits").read_text()


async def test_a_killed_service_takes_the_worker_with_it(tmp_path: Path):
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READS, tmp_path, stdin=asyncio.subprocess.PIPE
    )
    assert service.stdin is not None
    service.stdin.write(b"Subject: x\r\n\r\n" + b"many words\r\n" * 3_000_000)
    service.stdin.close()
    [worker] = await until(lambda: workers(service.pid))
    try:
        await until(lambda: is_confined(worker))
        os.kill(worker, signal.SIGSTOP)  # nothing but its own death ends it now
        service.kill()
        await service.wait()
        await ended([worker])
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


async def test_a_sender_who_does_not_wait_takes_the_worker_with_him(gateway, ada: Ada):
    async with gateway.session() as session:
        await session.answer()
        for command in BEGIN:
            await session.say(command)
        session.writer.write(dot_stuffed(ada.attached(random.randbytes(2 * MB))) + b".\r\n")
        [worker] = await until(workers)
        os.kill(worker, signal.SIGSTOP)
        session.writer.transport.abort()
        await until(lambda: not workers() and not spooled(gateway))


async def test_few_workers_are_there_at_once(gateway, ada: Ada):
    mails = [ada.attached(random.randbytes(2 * MB)) for _ in range(5)]
    sending = asyncio.gather(*map(gateway.send, mails))
    most = 0
    while not sending.done():
        most = max(most, len(workers()))
        await asyncio.sleep(0)
    assert {answer[:3] for answer in await sending} == {"250"}
    assert 1 <= most <= reader.AT_ONCE


async def test_without_room_on_the_disk_a_mail_is_not_now(gateway, ada: Ada):
    there, gateway.spool = gateway.spool, gateway.spool / "missing"
    listener = gateway.listener()
    was = gateway.port
    gateway.port = int((await listener.start("127.0.0.1", 0)).rpartition(":")[2])
    try:
        assert (await gateway.send(ada.attached(random.randbytes(2 * MB)))).startswith("452 4.3.1")
        assert (await gateway.send(ada.attached(b"small"))).startswith("250")
    finally:
        await listener.close(1)
        gateway.spool, gateway.port = there, was

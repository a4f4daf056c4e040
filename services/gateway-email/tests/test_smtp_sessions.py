"""Many, slow and half-closed sessions hold up nobody else."""

import asyncio
import contextlib

from airut_gateway_email.smtp_in import admission
from airut_mail_auth.testing.signing import SigningDomain, plain_mail


async def test_200_sessions_at_once_leave_room_for_a_mail(gateway, monkeypatch, lovelace: SigningDomain):
    monkeypatch.setattr(admission, "MAX_CONNECTIONS_PER_PEER", 201)
    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(gateway.session()) for _ in range(200)]
        greetings = await asyncio.gather(*(session.answer() for session in sessions))
        assert {greeting[:3] for greeting in greetings} == {"220"}
        for session in sessions[:100]:
            session.writer.write(b"EHLO half")  # and never the rest of the line
        answers = await asyncio.gather(*(session.say("EHLO a.example") for session in sessions[100:]))
        assert {answer[:3] for answer in answers} == {"250"}
        assert (await gateway.send(lovelace.sign(plain_mail().as_bytes()))).startswith("250 2.6.0")


async def test_a_half_closed_transfer_gives_its_place_back(gateway, monkeypatch, lovelace: SigningDomain):
    monkeypatch.setattr(admission, "MAX_TRANSFERS", 1)
    async with gateway.session() as session:
        await session.answer()
        for command in ("EHLO a.example", "MAIL FROM:<a@b.example>", "RCPT TO:<demo@airut.example>", "DATA"):
            await session.say(command)
        session.writer.write(b"Subject: half\r\n")
        session.writer.write_eof()
        assert await session.answer() == ""
    async with asyncio.timeout(10):
        while not (await gateway.send(lovelace.sign(plain_mail().as_bytes()))).startswith("250 2.6.0"):
            await asyncio.sleep(0)


async def test_a_flood_of_pipelined_commands_is_cut(gateway, lovelace: SigningDomain):
    async with gateway.session() as flood:
        await flood.answer()
        flood.writer.write(b"EHLO a.example\r\n" + b"NOOP\r\n" * 50_000)
        said = b""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):  # it hung up with our flood unread
                while chunk := await flood.reader.read(65536):
                    said += chunk
        assert said.count(b"\r\n") < 150
        assert (await gateway.send(lovelace.sign(plain_mail().as_bytes()))).startswith("250 2.6.0")

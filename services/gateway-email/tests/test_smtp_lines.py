"""CRLF ends a line and nothing else does: what another server reads as one line is never two here (VU#302671)."""

import pytest

from airut_mail_auth.testing.signing import SigningDomain, plain_mail

REFUSED = "500 5.5.2 a line must end with CRLF and have no other CR or LF"


@pytest.mark.parametrize(
    "line",
    [
        b"NOOP\n",
        b"NOOP\r",
        b"NOOP\n\r\n",
        b"NOOP\r\r\n",
        b"NOOP x\rNOOP\r\n",
        b"MAIL FROM:<a@b.example>\nRCPT TO:<demo@airut.example>\r\n",
        b"MAIL FROM:<a@b.example>\rRCPT TO:<demo@airut.example>\r\n",
        b"\n",
        b"\r\r\n",
    ],
)
async def test_a_command_with_a_bare_cr_or_lf_ends_the_session(gateway, line: bytes):
    async with gateway.session() as session:
        await session.answer()
        await session.say("EHLO client.example")
        assert await session.say_bytes(line + b"RSET\r\nRSET\r\n") == REFUSED
        assert await session.answer() == ""


async def test_a_cr_and_its_lf_may_come_apart(gateway):
    async with gateway.session() as session:
        await session.answer()
        session.writer.write(b"EHLO client.example\r")
        await session.writer.drain()
        assert (await session.say_bytes(b"\n")).startswith("250")


async def test_commands_may_come_together(gateway):
    async with gateway.session() as session:
        await session.answer()
        await session.say("EHLO client.example")
        assert (await session.say_bytes(b"NOOP\r\nRSET\r\n")).startswith("250")
        assert (await session.answer()).startswith("250")


@pytest.mark.parametrize("bare", [b"\n", b"\r"])
@pytest.mark.parametrize("where", [b"Subject: ", b"Please ", b"\r\n\r\n"])
async def test_a_mail_with_a_bare_cr_or_lf_is_refused_wherever_it_stands(
    gateway, lovelace: SigningDomain, bare: bytes, where: bytes
):
    mail = lovelace.sign(plain_mail().as_bytes())
    answer = await gateway.send(mail.replace(where, where + bare, 1))
    assert answer.startswith("554 5.6.0 the mail is malformed: it contains a bare CR or LF"), answer


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"])
async def test_no_second_mail_comes_out_of_one(gateway, lovelace: SigningDomain, end: bytes):
    """Everything in one write, as a server that was led astray passes it on."""
    inner = lovelace.sign(plain_mail("second\n").as_bytes())
    smuggled = (
        lovelace.sign(plain_mail("first\n").as_bytes()).removesuffix(b"\r\n")
        + end
        + b"MAIL FROM:<ada@lovelace.example>\r\nRCPT TO:<demo@airut.example>\r\nDATA\r\n"
        + inner
    )
    async with gateway.session() as session:
        await session.answer()
        for command in (
            "EHLO a.example",
            "MAIL FROM:<ada@lovelace.example>",
            "RCPT TO:<demo@airut.example>",
            "DATA",
        ):
            await session.say(command)
        answer = await session.say_bytes(smuggled + b"\r\n.\r\n")
        assert answer.startswith("554 5.6.0 the mail is malformed: it contains a bare CR or LF"), answer
        assert (await session.say("NOOP")).startswith("250")
    assert len(gateway.refusals) == 1


async def test_a_mail_behind_an_end_within_starttls_or_login_lines_is_nothing(gateway):
    async with gateway.session() as session:
        await session.answer()
        await session.say("EHLO client.example")
        assert await session.say_bytes(b"AUTH LOGIN\nMAIL FROM:<a@b.example>\r\n") == REFUSED
        assert await session.answer() == ""

"""Peers that may connect, proxies that connect for others, servers that log in: over real sockets and real TLS."""

import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator

import aiosmtplib
import pytest

from airut_common.secrets import Secret
from airut_gateway_email.smtp_in import admission
from airut_gateway_email.smtp_in import session as smtp_session
from airut_gateway_email.smtp_in.settings import Login
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

PASSWORD = "correct horse"


def proxy_v2(command: int, source: str | None) -> bytes:
    """A PROXY header, version 2 (haproxy's proxy-protocol.txt §2.2)."""
    body = b""
    family = 0x00
    if source is not None:
        kind = socket.AF_INET6 if ":" in source else socket.AF_INET
        family = 0x21 if ":" in source else 0x11
        packed = socket.inet_pton(kind, source)
        body = packed + packed + struct.pack("!HH", 40000, 25)
    return b"\r\n\r\n\x00\r\nQUIT\n" + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


async def through_proxy(gateway, header: bytes, mail: bytes = b"") -> list[str]:
    """The answers of a session behind a header: banner, EHLO, MAIL, RCPT and, if it comes so far, the mail's."""
    async with gateway.session() as session:
        answers = [await session.say_bytes(header)]
        for command in (
            "EHLO c.example",
            "MAIL FROM:<ada@lovelace.example>",
            "RCPT TO:<demo@airut.example>",
            "DATA",
        ):
            if not answers[-1].startswith(("2", "3")):
                return answers
            answers.append(await session.say(command))
        if mail:
            answers.append(await session.say_bytes(mail.rstrip(b"\r\n") + b"\r\n.\r\n"))
        return answers


# -- allowed peers ----------------------------------------------------------------------------------------


async def test_a_stranger_is_turned_away_at_the_door(gateway):
    gateway.allowed_peers = ("192.0.2.0/24",)
    async with gateway.session() as session:
        assert await session.answer() == "554 5.7.1 mail is taken from known mail servers only"
        assert await session.answer() == ""
    assert [str(error) for error in gateway.refusals] == ["mail is taken from known mail servers only"]
    assert gateway.refused_peers == ["127.0.0.1"]


async def test_an_allowed_peer_delivers(gateway, lovelace: SigningDomain):
    gateway.allowed_peers = ("192.0.2.0/24", "127.0.0.0/8")
    assert (await gateway.send(lovelace.sign(plain_mail().as_bytes()))).startswith("250 2.6.0")


# -- proxies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 25\r\n",
        proxy_v2(1, "192.0.2.7"),
        proxy_v2(1, "::ffff:192.0.2.7"),
    ],
    ids=["v1", "v2", "v2-mapped"],
)
async def test_spf_is_asked_for_the_client_that_the_proxy_names(gateway, zone, header):
    gateway.proxy_peers = ("127.0.0.1",)
    zone.texts("lovelace.example", "v=spf1 ip4:192.0.2.7 -all")
    answers = await through_proxy(gateway, header, plain_mail().as_bytes())
    assert answers[-1].startswith("250 2.6.0")
    [request] = await gateway.requests(1)
    assert request.evidence.record["envelope"]["peer"] == "192.0.2.7"


async def test_the_proxys_own_address_proves_nothing(gateway, zone):
    gateway.proxy_peers = ("127.0.0.1",)
    zone.texts("lovelace.example", "v=spf1 ip4:127.0.0.1 -all")
    answers = await through_proxy(gateway, proxy_v2(1, "198.51.100.9"), plain_mail().as_bytes())
    assert answers[-1].startswith("550 5.7.1")
    assert gateway.refused_peers == ["198.51.100.9"]


@pytest.mark.parametrize(
    "header", [proxy_v2(0, None), proxy_v2(1, None), b"PROXY UNKNOWN\r\n"], ids=["local", "unspec", "unknown"]
)
async def test_a_proxy_that_names_nobody_may_look_but_not_send(gateway, zone, header):
    gateway.proxy_peers = ("127.0.0.1",)
    zone.texts("lovelace.example", "v=spf1 ip4:127.0.0.1 -all")
    answers = await through_proxy(gateway, header)
    assert [answer[:3] for answer in answers] == ["220", "250", "250", "550"]
    assert answers[-1].endswith("the proxy did not say who sends this mail")


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO c.example\r\n",
        b"PROXY TCP4 mallory 127.0.0.1 40000 25\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x01x",
        b"PROXY " + b"A" * 3000,
    ],
    ids=["none", "v1-broken", "v2-broken", "endless"],
)
async def test_a_missing_or_broken_header_ends_it(gateway, header):
    gateway.proxy_peers = ("127.0.0.1",)
    assert await through_proxy(gateway, header) == [""]
    assert [str(error) for error in gateway.refusals] == [
        "a connection of a proxy did not begin with a PROXY header"
    ]


async def test_a_proxy_that_says_nothing_is_reported(gateway, monkeypatch):
    monkeypatch.setattr(smtp_session, "PROXY_SECONDS", 3.0)
    gateway.proxy_peers = ("127.0.0.1",)
    async with gateway.session() as session:
        assert await session.answer() == ""
    assert gateway.refused_peers == ["127.0.0.1"]


async def test_a_header_of_somebody_else_is_no_command(gateway):
    """Otherwise every client could choose the address that SPF is asked for."""
    async with gateway.session() as session:
        await session.answer()
        assert (await session.say("PROXY TCP4 192.0.2.7 127.0.0.1 40000 25")).startswith("500")


async def test_who_may_deliver_is_decided_for_the_client_behind_the_proxy(gateway):
    gateway.proxy_peers = ("127.0.0.1",)
    gateway.allowed_peers = ("192.0.2.0/24",)
    assert (await through_proxy(gateway, proxy_v2(1, "192.0.2.7")))[-1].startswith("354")
    assert (await through_proxy(gateway, proxy_v2(1, "198.51.100.9"))) == [
        "554 5.7.1 mail is taken from known mail servers only"
    ]


async def test_connections_are_counted_for_the_client_behind_the_proxy(gateway, monkeypatch):
    monkeypatch.setattr(admission, "MAX_CONNECTIONS_PER_PEER", 1)
    gateway.proxy_peers = ("127.0.0.1",)
    async with gateway.session() as one, gateway.session() as two, gateway.session() as three:
        assert (await one.say_bytes(proxy_v2(1, "192.0.2.7"))).startswith("220")
        assert (await two.say_bytes(proxy_v2(1, "192.0.2.8"))).startswith("220")
        assert (await three.say_bytes(proxy_v2(1, "192.0.2.8"))).startswith("421 4.7.0 too many connections")
        await two.say("QUIT")
    async with gateway.session() as four:
        assert (await four.say_bytes(proxy_v2(1, "192.0.2.8"))).startswith("220")


# -- logging in -------------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(gateway, certificate):
    """The gateway with STARTTLS and a login; returns what a client verifies it with."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*certificate)
    gateway.tls = server
    gateway.login = Login("relay", Secret(PASSWORD))
    return ssl.create_default_context(cafile=certificate[0])


@contextlib.asynccontextmanager
async def connection(gateway, context: ssl.SSLContext) -> AsyncIterator[aiosmtplib.SMTP]:
    client = aiosmtplib.SMTP(
        hostname="localhost", port=gateway.port, start_tls=True, tls_context=context, timeout=10
    )
    await client.connect()
    try:
        await client.ehlo()
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
async def test_a_server_logs_in_and_delivers(gateway, lovelace: SigningDomain, encrypted, mechanism):
    async with connection(gateway, encrypted) as client:
        await getattr(client, mechanism)("relay", PASSWORD)
        await client.sendmail(
            "ada@lovelace.example", "demo@airut.example", lovelace.sign(plain_mail().as_bytes())
        )
    assert len(await gateway.requests(1)) == 1


async def test_a_login_says_nothing_about_the_author(gateway, encrypted):
    async with connection(gateway, encrypted) as client:
        await client.auth_plain("relay", PASSWORD)
        with pytest.raises(aiosmtplib.SMTPDataError, match="no DKIM signature"):
            await client.sendmail("ada@lovelace.example", "demo@airut.example", plain_mail().as_bytes())


async def test_without_a_login_nothing_is_taken(gateway, encrypted):
    async with connection(gateway, encrypted) as client:
        with pytest.raises(aiosmtplib.SMTPSenderRefused, match=r"5\.7\.0 Authentication required"):
            await client.sendmail("ada@lovelace.example", "demo@airut.example", plain_mail().as_bytes())


@pytest.mark.parametrize(
    ("name", "password"), [("relay", "wrong"), ("other", PASSWORD), ("relay", ""), ("", "")]
)
async def test_a_wrong_login(gateway, encrypted, name, password):
    async with connection(gateway, encrypted) as client:
        with pytest.raises(
            aiosmtplib.SMTPAuthenticationError, match="the user name or the password is wrong"
        ) as caught:
            await client.auth_plain(name, password)
    assert caught.value.code == 535
    assert gateway.refused_peers == ["127.0.0.1"]


async def test_three_attempts_for_each_connection(gateway, encrypted):
    async with connection(gateway, encrypted) as client:
        for _ in range(3):
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await client.auth_plain("relay", "wrong")
        with pytest.raises(aiosmtplib.SMTPException) as caught:
            await client.auth_plain("relay", PASSWORD)
    assert not isinstance(caught.value, aiosmtplib.SMTPAuthenticationError) or caught.value.code == 421


async def test_a_secret_that_nobody_has_set(gateway, encrypted):
    gateway.login = Login("relay", None)
    async with connection(gateway, encrypted) as client:
        with pytest.raises(aiosmtplib.SMTPAuthenticationError, match="its secret is not set") as caught:
            await client.auth_plain("relay", "")
    assert caught.value.code == 454


async def test_no_password_is_taken_without_tls(gateway, encrypted):
    async with gateway.session() as session:
        await session.answer()
        assert "AUTH" not in await session.say("EHLO c.example")
        token = base64.b64encode(f"\0relay\0{PASSWORD}".encode()).decode()
        assert (await session.say(f"AUTH PLAIN {token}")).startswith(("530", "538"))
        assert (await session.say("MAIL FROM:<ada@lovelace.example>")).startswith("530")


async def test_login_is_not_offered_where_none_is_configured(gateway, encrypted):
    gateway.login = None
    async with connection(gateway, encrypted) as client:
        assert not client.supports_extension("auth")


@pytest.mark.parametrize("said", [b"AUTH PLAIN", b"AUTH LOGIN"])
@pytest.mark.parametrize("answer", [b"*", b"\xff\xfe", b"AAAA", b"A" * 5000])
async def test_nonsense_in_place_of_a_password(gateway, encrypted, said, answer):
    async with connection(gateway, encrypted) as client:
        assert (await client.execute_command(said)).code == 334
        code = (await client.execute_command(answer)).code
        if code == 334:  # that was the name
            code = (await client.execute_command(answer)).code
        assert code >= 400
    assert (await gateway.send(plain_mail().as_bytes())).startswith("530")

"""A real Postfix in front of the gateway, and behind it."""

import re
import shlex
import ssl
from pathlib import Path

import aiosmtplib
import pytest

from airut_common.bus import BusUnavailable
from airut_common.config.models import RelayConfig
from airut_gateway_email.outgoing import OutgoingMail
from airut_gateway_email.smtp_out import Relay, SendRefused
from airut_gateway_email.testing.postfix import Postfix
from airut_gateway_email.testing.sink import MailSink
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

DOCUMENTATION = Path(__file__).parents[3] / "docs/email/postfix.md"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def hand_over(postfix: Postfix, mail: bytes, *, to: str = "demo@airut.example") -> None:
    """What a mail program or another server does."""
    await aiosmtplib.send(
        mail, sender="ada@lovelace.example", recipients=[to], hostname="127.0.0.1", port=postfix.port,
        start_tls=False, timeout=20,
    )  # fmt: skip


@pytest.fixture
def tls_files(gateway, certificate: tuple[Path, Path]) -> Path:
    """The gateway offers STARTTLS and wants it; returns the authority."""
    gateway.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    gateway.tls.load_cert_chain(*certificate)
    gateway.require_tls = True
    return certificate[0]


def to_gateway(gateway, authority: Path) -> dict[str, str]:
    """What docs/email/postfix.md tells an administrator of Postfix, for this test's addresses."""
    command = re.search(r"^ *postconf -e ((?:.*\\\n)*.*)\n", DOCUMENTATION.read_text(), re.MULTILINE)
    assert command
    settings = dict(item.split(" = ", 1) for item in shlex.split(command[1].replace("\\\n", " ")))
    transport = settings["transport_maps"].replace(
        "[airut.internal.example.org]:2525", f"[localhost]:{gateway.port}"
    )
    assert str(gateway.port) in transport
    return settings | {
        "relay_domains": settings["relay_domains"].replace(".example.org", ".example"),
        "transport_maps": transport.replace("airut.example.org", "airut.example"),
        "smtp_tls_CAfile": str(authority),
    }


async def test_a_signed_mail_comes_through_postfix(gateway, lovelace: SigningDomain, tls_files: Path):
    gateway.allowed_peers = ("127.0.0.0/8",)
    async with Postfix.running(**to_gateway(gateway, tls_files)) as postfix:
        await hand_over(postfix, lovelace.sign(plain_mail("Through Postfix.\n.dot\n").as_bytes()))
        [request] = await gateway.requests(1)
        log = await postfix.until_logged("status=sent")
    assert request.text == "Through Postfix.\n.dot"
    assert request.evidence.method == "dmarc"
    assert f"250 2.6.0 accepted as {request.id}" in log


async def test_what_the_gateway_refuses_is_returned_by_postfix_with_our_words(
    gateway, lovelace, tls_files: Path
):
    async with MailSink().running() as sink:
        settings = to_gateway(gateway, tls_files) | {"default_transport": f"smtp:[127.0.0.1]:{sink.port}"}
        async with Postfix.running(**settings) as postfix:
            await hand_over(postfix, plain_mail().as_bytes())
            bounce = await sink.next()
            await postfix.until_logged("dsn=5.7.1, status=bounced")
    assert bounce.recipients == ("ada@lovelace.example",)
    assert b"no DKIM signature" in bounce.data.replace(b"\r\n    ", b" ")
    assert gateway.refusals


async def test_a_mail_waits_in_postfix_while_the_bus_is_away(
    gateway, lovelace: SigningDomain, tls_files, monkeypatch
):
    away = True
    publish = gateway.bus.publish

    async def sometimes(*args, **options):
        if away:
            raise BusUnavailable("away")
        return await publish(*args, **options)

    monkeypatch.setattr(gateway.bus, "publish", sometimes)
    async with Postfix.running(**to_gateway(gateway, tls_files)) as postfix:
        await hand_over(postfix, lovelace.sign(plain_mail().as_bytes()))
        await postfix.until_logged("dsn=4.3.0, status=deferred")
        away = False
        await gateway.requests(1)
        log = await postfix.until_logged("status=sent")
    assert log.count("status=sent") == 1


async def test_answers_leave_through_postfix(lovelace: SigningDomain, certificate: tuple[Path, Path]):
    signed = lovelace.sign(plain_mail("An answer.\n.dot\n" + "ä" * 300 + "\n").as_bytes())
    authority, key = certificate
    async with MailSink().running() as sink:
        settings = {
            "smtpd_tls_cert_file": str(authority), "smtpd_tls_key_file": str(key), "smtpd_tls_security_level": "encrypt",
            "default_transport": f"smtp:[127.0.0.1]:{sink.port}", "message_size_limit": "20000",
        }  # fmt: skip
        async with Postfix.running(**settings) as postfix:
            config = RelayConfig(host="localhost", port=postfix.port, security="starttls", ca_file=authority)
            relay = Relay(lambda: config, lambda _name: None)
            try:
                for _ in range(2):
                    await relay.send(_outgoing(signed))
                with pytest.raises(SendRefused, match="the relay takes 20000") as refused:
                    await relay.send(_outgoing(signed + b"x" * 20_000))
            finally:
                relay.close()
            mails = [await sink.next(), await sink.next()]
            assert (
                postfix.log().count("connect from localhost[127.0.0.1]\n") - postfix.log().count("disconnect")
                <= 1
            )
    assert refused.value.too_large
    for mail in mails:
        assert mail.data.endswith(signed), "not a byte was changed below what Postfix put on top"


def _outgoing(data: bytes) -> OutgoingMail:
    return OutgoingMail("demo@airut.example", "ada@lovelace.example", "<1@airut.example>", data)

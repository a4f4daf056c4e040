"""`airut mail verify` on saved mails, over a real DNS server."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from airut.cli import app
from airut.errors import UsageError
from airut_mail_auth.testing.signing import SigningDomain, plain_mail
from airut_mail_auth.testing.zones import ZoneServer


@pytest.fixture
def zone() -> Iterator[ZoneServer]:
    """In a loop of its own, because the command brings one, too."""
    loop = asyncio.new_event_loop()
    server = ZoneServer()
    running = server.running()
    loop.run_until_complete(running.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(running.__aexit__(None, None, None))
    loop.close()


@pytest.fixture
def verify(zone: ZoneServer, tmp_path: Path):
    config = tmp_path / "airut.yaml"
    config.write_text(
        "email:\n  hostname: airut.example\n  relay: {host: 127.0.0.1, port: 25, security: plain}\n"
        f"  authentication: {{resolver: '{zone.endpoint}'}}\n"
        "groups: {people: [ada@lovelace.example], others: [bob@lovelace.example]}\n"
        "repos:\n  demo:\n    address: demo@airut.example\n    senders: ['*@lovelace.example']\n"
        "    git: {url: 'https://git.example/x.git'}\n"
        "  site:\n    address: site@airut.example\n    senders: ['group:others', 'group:people']\n"
        "    git: {url: 'https://git.example/x.git'}\n"
        "  app:\n    address: app@airut.example\n    senders: ['group:others']\n"
        "    git: {url: 'https://git.example/x.git'}\n"
    )

    def verify(data: bytes, *options: str) -> Result:
        file = tmp_path / "saved.eml"
        file.write_bytes(data)
        return CliRunner().invoke(app, ["mail", "verify", str(file), "-c", str(config), *options])

    return verify


@pytest.fixture
def lovelace(zone: ZoneServer) -> SigningDomain:
    domain = SigningDomain("lovelace.example")
    domain.publish(zone, spf="v=spf1 ip4:192.0.2.10 -all")
    return domain


def test_a_proven_mail(verify, lovelace: SigningDomain) -> None:
    done = verify(lovelace.sign(plain_mail().as_bytes()))
    assert done.exit_code == 0, done.output
    assert "verdict   proven (dmarc)" in done.output
    assert "author    ada@lovelace.example" in done.output
    assert (
        "DKIM      pass, aligned: mail._domainkey.lovelace.example, rsa-sha256, key of 2048 bits"
        in done.output
    )


def test_the_record_as_json(verify, lovelace: SigningDomain) -> None:
    options = ("--peer", "192.0.2.10", "--ehlo", "mx.lovelace.example", "--mail-from", "ada@lovelace.example")
    done = verify(plain_mail().as_bytes(), "--json", *options)
    assert done.exit_code == 0, done.output
    record = json.loads(done.output)
    assert (record["verdict"], record["rule"], record["proof"]["direct"]) == ("proven", "dmarc", True)
    assert record["spf"][0]["result"] == "pass"
    assert record["dmarc"]["asked"] == ["_dmarc.lovelace.example", "_dmarc.example"]
    assert record["allowed"] == [
        {"repo": "demo", "rule": "*@lovelace.example", "group": None},
        {"repo": "site", "rule": "ada@lovelace.example", "group": "people"},
    ]


def test_where_a_proven_author_may_give_work_and_why(verify, zone, lovelace: SigningDomain) -> None:
    said = verify(lovelace.sign(plain_mail().as_bytes())).output
    assert "allowed   demo: *@lovelace.example\n" in said
    assert "allowed   site: ada@lovelace.example of group:people\n" in said
    assert "app" not in said
    stranger = SigningDomain("stranger.example")
    stranger.publish(zone)
    done = verify(stranger.sign(plain_mail(sender="ada@stranger.example").as_bytes()))
    assert "allowed   nowhere: no repository's senders name the author\n" in done.output
    assert "allowed" not in verify(plain_mail().as_bytes()).output


def test_a_refused_mail(verify, lovelace: SigningDomain) -> None:
    done = verify(lovelace.sign(plain_mail().as_bytes()) + b"more\r\n")
    assert done.exit_code == 1
    assert "because   the author's domain lovelace.example is not proven: DKIM fail" in done.output


def test_a_failing_dns(verify, zone, lovelace: SigningDomain) -> None:
    zone.fails.add("_dmarc.lovelace.example")
    assert verify(lovelace.sign(plain_mail().as_bytes())).exit_code == 3


def test_a_mail_saved_with_bare_line_feeds(verify, lovelace: SigningDomain) -> None:
    signed = lovelace.sign(plain_mail().as_bytes())
    assert verify(signed.replace(b"\r\n", b"\n")).exit_code == 0
    mixed = signed.replace(b"\r\n", b"\n", 3)
    assert "bare CR or LF" in verify(mixed).output


def test_an_old_mail_is_judged_as_of_its_arrival(verify, lovelace: SigningDomain) -> None:
    signed = lovelace.sign(plain_mail().as_bytes())
    assert "signed in the future" in verify(signed, "--at", "2020-01-01T00:00:00").output
    assert isinstance(verify(signed, "--at", "yesterday").exception, UsageError)


def test_words_of_strangers_steer_no_terminal(verify) -> None:
    done = verify(b"From: a\x1b[2J@b.example\r\n\r\n", "--peer", "\x1b[2J", "--mail-from", "x@y.example")
    assert "\x1b" not in done.output


def test_a_mail_of_the_mailbox(zone: ZoneServer, tmp_path: Path) -> None:
    """Its server is believed, as the gateway believes it; a client that delivers by SMTP is not."""
    config, file = tmp_path / "airut.yaml", tmp_path / "saved.eml"
    config.write_text(
        "email:\n  hostname: airut.example\n  relay: {host: 127.0.0.1, port: 25, security: plain}\n"
        "  imap: {host: imap.airut.example, username: airut, password_secret: IMAP_PASSWORD}\n"
        f"  authentication: {{mode: trusted-header, authserv_id: mx.airut.example, resolver: '{zone.endpoint}'}}\n"
        "repos: {}\n"
    )
    file.write_bytes(
        b"Authentication-Results: mx.airut.example; dmarc=pass header.from=lovelace.example\r\n"
        + plain_mail().as_bytes()
    )
    command = ["mail", "verify", str(file), "-c", str(config)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "reported by mx.airut.example at the mailbox at imap.airut.example" in done.output
    done = CliRunner().invoke(app, [*command, "--peer", "192.0.2.10"])
    assert "verdict   refused (untrusted-peer)" in done.output


def test_half_an_envelope_is_a_mistake(verify) -> None:
    assert isinstance(verify(plain_mail().as_bytes(), "--ehlo", "x").exception, UsageError)

"""docs/email: each page is followed to a working address, and no command or block of it is left out."""

import asyncio
import json
import os
import re
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiosmtplib
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from airut_common.testing.ports import free_port
from airut_demo.__main__ import cache_folder
from airut_demo.traces import remove_traces
from airut_demo.world.https import serve_https
from airut_demo.world.messages_api import Say, Script
from airut_demo.world.world import World, open_world
from airut_gateway_email.testing.dovecot import PASSWORD, Dovecot, dovecot_folder
from airut_gateway_email.testing.postfix import Postfix
from airut_gateway_email.testing.sink import Delivered, MailSink
from airut_mail_auth import Envelope, Rules, verify_bytes
from airut_mail_auth.dns import DnsResolver
from airut_mail_auth.testing.signing import SigningDomain, plain_mail
from airut_mail_auth.testing.zones import ZoneServer
from airut_orchestrator.choice import read_hints
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.podman import Podman, probe_podman

from .guide import DOCS, LANGUAGES, Follower, Mail, Page, commands_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

AUTHOR = "ada@example.org"
MAILBOX = "airut@example.org"
SAMPLES = Path(__file__).parent / "samples"
"""Mails as providers deliver them; two are signed by keys whose public halves are in `keys.json`."""
KEYS: dict[str, str] = json.loads((SAMPLES / "keys.json").read_text())
WORK = "Please fix the greeting."
ANSWER = "The greeting is fixed."
EXCHANGE_COVERS = [b"From", b"Date", b"Subject", b"Message-ID", b"Content-Type", b"MIME-Version"]


@dataclass
class Surroundings:
    """What is around an installation: its authors' domain, their mail server, the internet's authorities."""

    folder: Path
    world: World
    podman: Podman
    image: str
    zone: ZoneServer
    author: SigningDomain
    authorities: Path

    def follower(self, page: str, mails: list[Mail], **more: Any) -> Follower:
        """Somebody at the beginning of a page."""
        return Follower(
            Page(page),
            self.folder / "airut",
            self.world,
            self.image,
            self.zone,
            self.authorities,
            mails=mails,
            **more,
        )

    def tls(self) -> ssl.SSLContext:
        """A server's side of TLS, for localhost."""
        files = self.world.ca.issue("localhost")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
        return context

    async def received(self, delivered: Delivered, peer: str) -> None:
        """Judge an answer as its receiver would, by the records that the page has published."""
        resolver = await DnsResolver.at(self.zone.endpoint)
        envelope = Envelope(peer, "x.example", delivered.mail_from)
        record = await verify_bytes(delivered.data, envelope, resolver, Rules(), now=datetime.now(UTC))
        assert record.verdict == "proven", record.explanation


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Surroundings]:
    podman = await probe_podman(tmp_path / "podman", runtime=None)
    image = await ensure_base_image(podman, cache_dir=cache_folder() / "base-image")
    scripts = [Script(WORK, [Say(lambda _: ANSWER)])]
    async with open_world(tmp_path / "world", scripts) as world, ZoneServer().running() as zone:
        author = SigningDomain("example.org")
        author.publish(zone, spf="v=spf1 -all")
        authorities = tmp_path / "authorities.pem"
        shutil.copy(
            os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().openssl_cafile, authorities
        )
        _trust(authorities, world.ca.file)
        yield Surroundings(tmp_path, world, podman, image, zone, author, authorities)


def _trust(authorities: Path, authority: Path) -> None:
    authorities.write_text(authorities.read_text() + authority.read_text())


@asynccontextmanager
async def followed(around: Surroundings, follower: Follower) -> AsyncIterator[Follower]:
    """Follow the page to its end; the context sees the installation at work."""
    try:
        await follower.follow()
        assert not follower.mails, "the page judges fewer mails than it sends"
        yield follower
    finally:
        await follower.stop()
        if follower.installation.id:
            await remove_traces(around.podman, follower.installation.id)


def mail(to: str, sender: str = AUTHOR, **more: str) -> bytes:
    return plain_mail(f"{WORK}\n", sender=sender, to=to, **more).as_bytes()


async def send(server: str, data: bytes, to: str, mail_from: str = AUTHOR) -> str:
    """Hand a mail over; what the server says in the end."""
    host, _, port = server.rpartition(":")
    try:
        _, said = await aiosmtplib.send(
            data,
            sender=mail_from,
            recipients=[to],
            hostname=host,
            port=int(port),
            start_tls=False,
            timeout=20,
        )
    except aiosmtplib.SMTPResponseException as error:
        return f"{error.code} {error.message}"
    return said


async def answer_to(sink: MailSink, sent: bytes) -> Delivered:
    """The agent's answer, in the thread."""
    answer = await sink.next(120)
    assert answer.message["In-Reply-To"] == message_from_bytes(sent, policy=SMTP)["Message-ID"]
    body = answer.message.get_body(preferencelist=("plain",))
    assert body is not None
    assert ANSWER in body.get_content()
    return answer


def test_each_page_is_followed_by_a_test() -> None:
    pages = {path.stem.replace("-", "_") for path in (DOCS / "email").glob("*.md")}
    assert len(pages) == 5
    missing = [page for page in pages if f"test_the_page_{page}" not in globals()]
    assert not missing


PAGES = sorted(f"email/{path.stem}" for path in (DOCS / "email").glob("*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_no_block_is_in_a_language_that_nobody_runs(name: str) -> None:
    unknown = [
        f"{block.line}: {block.language!r}" for block in Page(name).blocks if block.language not in LANGUAGES
    ]
    assert not unknown


def test_no_command_stands_in_the_text_alone() -> None:
    blocks = [block for name in PAGES for block in Page(name).blocks if block.language == "sh"]
    run = [command for block in blocks for command in commands_of(block.text)]
    for name in [*PAGES, "email"]:
        for named in re.findall(
            r"`(airut [^`]+)`", re.sub(r"```.*?```", "", Page(name).text, flags=re.DOTALL)
        ):
            words = " ".join(word for word in named.split() if word.islower())
            assert any(command.startswith(words) for command in run), f"{name}.md: {named}"


@pytest.mark.parametrize("name", [*PAGES, "email"])
def test_links_lead_somewhere(name: str) -> None:
    for file, heading in Page(name).links():
        titles = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
        assert not heading or heading in {title.lower().replace(" ", "-") for title in titles}, (
            file,
            heading,
        )


def test_the_reference_shows_a_mail_that_is_read_as_it_says() -> None:
    block = next(each for each in Page("email").blocks if each.language == "mail")
    hints, text = read_hints(block.text)
    assert hints == {"model": "opus", "effort": "high"}
    assert text.startswith("Why do")


def test_an_ordinary_user_may_listen_on_port_25_after_the_command() -> None:
    """In a network of its own, without a capability."""
    command = next(
        each for each in commands_of(Page("email/mx").blocks[0].text) if each.startswith("sudo sysctl")
    )
    listen = f"{sys.executable} -c 'import socket; socket.create_server((\"0.0.0.0\", 25))'"
    powerless = f"setpriv --bounding-set=-all --inh-caps=-all -- {listen}"
    ordered = f"{command.removeprefix('sudo ')} && {powerless}"

    async def outcome(script: str) -> int | None:
        argv = ["unshare", "--map-root-user", "--net", "sh", "-c", f"PATH=$PATH:/usr/sbin; {script}"]
        process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
        return await process.wait()

    assert asyncio.run(outcome(powerless)) != 0
    assert asyncio.run(outcome(ordered)) == 0


async def test_the_page_mx(around: Surroundings) -> None:
    to = "website@airut.example.org"
    sink = MailSink(tls=around.tls(), login=("airut", "relay's pässword"))

    async def through() -> bytes:
        signed = around.author.sign(mail(to))
        assert "accepted as" in await send(follower.installation.smtp, signed, to)
        await around.received(await answer_to(sink, signed), "203.0.113.9")
        return signed

    def adapt(config: dict[str, Any]) -> None:
        _by_smtp(config["email"], around.world, sink.port)

    secrets = {"SMTP_PASSWORD": "relay's pässword"}
    follower = around.follower("email/mx", [through], adapt=adapt, secrets=secrets)
    async with sink.running(), followed(around, follower):
        assert "gateway-email" in follower.printed
        for refused in _refused(around, to):
            answer = await send(follower.installation.smtp, refused, to)
            assert Page("email").explains(answer), answer


def _refused(around: Surroundings, to: str) -> list[bytes]:
    """One mail for each reason that docs/email.md names."""
    partner = SigningDomain("partner.example")
    partner.publish(around.zone)
    around.zone.texts("_dmarc.lax.example", "v=DMARC1; p=none")
    return [
        partner.sign(mail(to, "grace@partner.example")),
        mail(to, "eve@nothing.example"),
        mail(to, "eve@lax.example"),
        mail(to),
        partner.sign(mail(to)),
        around.author.sign(mail(to), include_headers=EXCHANGE_COVERS),
    ]


async def test_the_page_postfix(around: Surroundings) -> None:
    to = "website@airut.example.org"
    port, sink = free_port(), MailSink()
    verdict = "Authentication-Results: mx.example.org; dmarc=pass (p=reject dis=none) header.from=example.org"
    files = around.world.ca.issue("localhost")
    settings = {
        "myhostname": "mx.example.org",
        "smtpd_tls_cert_file": str(files.certificate),
        "smtpd_tls_key_file": str(files.key),
        "smtpd_tls_security_level": "may",
        # What a milter that judges mail would do.
        "smtpd_client_restrictions": f"check_client_access inline:{{{{127.0.0.1 = PREPEND {verdict}}}}}",
    }

    async def by_signature() -> bytes:
        signed = around.author.sign(mail(to))
        await send(f"127.0.0.1:{postfix.port}", signed, to)
        await around.received(await answer_to(sink, signed), "192.0.2.25")
        assert "250 2.6.0 accepted as" in postfix.log()
        return signed

    async def by_postfix() -> bytes:
        unsigned = mail(to, subject="Judged by Postfix")
        await send(f"127.0.0.1:{postfix.port}", unsigned, to)
        await answer_to(sink, unsigned)
        return f"{verdict}\r\n".encode() + unsigned

    def adapt(config: dict[str, Any]) -> None:
        _by_smtp(config["email"], around.world, postfix.port)
        config["email"]["listen"] = f"127.0.0.1:{port}"
        config["email"]["tls"] = {"certificate": f"{etc}/mail.crt", "key": f"{etc}/mail.key"}

    etc = around.folder / "etc"
    etc.mkdir()
    async with sink.running():
        settings["default_transport"] = f"smtp:[127.0.0.1]:{sink.port}"
        async with Postfix.running(**settings) as postfix:
            follower = around.follower(
                "email/postfix",
                [by_signature, by_postfix],
                adapt=adapt,
                here={
                    "[airut.internal.example.org]:2525": f"[127.0.0.1]:{port}",
                    "/etc/airut": str(etc),
                },
                environment={"MAIL_CONFIG": str(postfix.root / "etc")},
            )
            async with followed(around, follower):
                assert any(f"[127.0.0.1]:{port}" in command for command in follower.commands)


async def test_the_page_microsoft_365(around: Surroundings) -> None:
    to, sink = "website@airut.example.org", MailSink(tls=around.tls())
    around.zone.texts("spf.protection.outlook.com", "v=spf1 ip4:40.107.0.0/16 ip4:127.0.0.0/8 -all")
    client_secret = "the client's own secret"

    def as_exchange_signs() -> bytes:
        return around.author.sign(mail(to), include_headers=EXCHANGE_COVERS)

    async def direct() -> bytes:
        signed = as_exchange_signs()
        assert "accepted as" in await send(follower.installation.smtp, signed, to)
        await around.received(await answer_to(sink, signed), "192.0.2.30")
        elsewhere = "ada@elsewhere.example"
        refusal = await send(follower.installation.smtp, as_exchange_signs(), to, elsewhere)
        assert follower.page.explains(refusal), refusal
        return signed

    async def from_the_mailbox() -> bytes:
        await follower.until_told("AADSTS7000215")
        follower.secrets["M365_CLIENT_SECRET"] = client_secret
        await follower.shell("airut secret set M365_CLIENT_SECRET")
        delivered = _as_of_now("microsoft-365.eml")
        await mailbox.server.append(delivered)
        await around.received(await answer_to(sink, delivered), "192.0.2.30")
        await mailbox.server.append(_as_of_now("microsoft-365-colleague.eml"))
        await follower.until_told("reports no single dmarc=pass")
        await mailbox.server.wait_until("Airut.refused", ["The greeting"])
        return (SAMPLES / "microsoft-365.eml").read_bytes()

    async def from_a_colleague() -> bytes:
        return (SAMPLES / "microsoft-365-colleague.eml").read_bytes()

    def adapt(config: dict[str, Any]) -> None:
        _by_smtp(config["email"], around.world, sink.port)
        mailbox.put_into(config["email"])

    async with sink.running(), _mailbox(around, client_secret) as mailbox:
        follower = around.follower(
            "email/microsoft-365",
            [direct, from_the_mailbox, from_a_colleague],
            adapt=adapt,
            secrets={"M365_CLIENT_SECRET": "its id"},
        )
        # "Steps 1 and 2 of an MX of its own": the host and the key.
        await follower.follow(Page("email/mx").blocks[:2])
        async with followed(around, follower):
            assert follower.config.email is not None
            assert follower.config.email.imap is not None
            assert follower.config.email.imap.oauth2 is not None
            assert follower.config.email.imap.oauth2.client_id in follower.at_the_provider
            assert MAILBOX in follower.at_the_provider
    assert mailbox.tokens.granted[-1] == {
        "grant_type": "client_credentials",
        "client_id": "11111111-2222-3333-4444-555555555555",
        "client_secret": client_secret,
        "scope": "https://outlook.office365.com/.default",
    }


async def test_the_page_google_workspace(around: Surroundings) -> None:
    submission, relay = MailSink(tls=around.tls(), login=(MAILBOX, PASSWORD)), MailSink(tls=around.tls())
    client_secret = "GOCSPX-secret"

    around.zone.texts("_spf.google.com", "v=spf1 ip4:209.85.128.0/17 -all")

    async def with_the_password() -> None:
        assert follower.printed == "GOOGLE_APP_PASSWORD: sealed to gateway-email\n"
        await _round_trip(around, mailbox.server, submission)

    async def with_the_code() -> None:
        follower.secrets["GOOGLE_REFRESH_TOKEN"] = "1//revoked"
        real = json.loads(follower.printed)["refresh_token"]
        tokens.append(real)

    async def with_a_token() -> None:
        await follower.until_told("invalid_grant")
        follower.secrets["GOOGLE_REFRESH_TOKEN"] = tokens[0]
        await follower.shell("airut secret set GOOGLE_REFRESH_TOKEN")
        answer = await _round_trip(around, mailbox.server, relay)
        await around.received(answer, "192.0.2.30")

    async def saved() -> bytes:
        return (SAMPLES / "google.eml").read_bytes()

    def adapt(config: dict[str, Any]) -> None:
        sink = submission if "username" in config["email"]["relay"] else relay
        _by_smtp(config["email"], around.world, sink.port)
        mailbox.put_into(config["email"])

    tokens: list[str] = []
    async with submission.running(), relay.running(), _mailbox(around, client_secret) as mailbox:
        # The browser and curl reach Google's names here.
        (around.folder / ".curlrc").write_text(
            f'connect-to = "oauth2.googleapis.com:443:127.0.0.1:{mailbox.port}"\ncacert = "{around.world.ca.file}"\n'
        )
        follower = around.follower(
            "email/google-workspace",
            [saved],
            adapt=adapt,
            secrets={"GOOGLE_APP_PASSWORD": PASSWORD, "GOOGLE_CLIENT_SECRET": client_secret},
            records={name: KEYS[name] for name in KEYS if name.startswith("google.")},
            environment={
                "CURL_HOME": str(around.folder),
                "CLIENT_SECRET": client_secret,
                "TOKENS": str(mailbox.port),
            },
        )
        curl = next(
            each
            for block in follower.page.blocks
            for each in commands_of(block.text)
            if each.startswith("curl ")
        )
        follower.then = {
            "airut secret set GOOGLE_APP_PASSWORD": with_the_password,
            curl: with_the_code,
            "airut secret set GOOGLE_REFRESH_TOKEN": with_a_token,
        }
        async with followed(around, follower):
            assert mailbox.tokens.granted[-1]["grant_type"] == "refresh_token"


async def test_the_page_mailbox(around: Surroundings) -> None:
    sink = MailSink(tls=around.tls(), login=(MAILBOX, PASSWORD))
    around.zone.texts("fm3._domainkey.example.org", KEYS["fm3._domainkey.example.org"])
    verdict = b"Authentication-Results: mx.example.org; dkim=none; dmarc=pass header.from=example.org\r\n"

    async def no_password() -> None:
        await follower.until_told("the secret IMAP_PASSWORD is not set")
        follower.secrets["IMAP_PASSWORD"] = "the account's own"

    async def wrong_password() -> None:
        await follower.until_told("does not accept our login")
        follower.secrets["IMAP_PASSWORD"] = PASSWORD
        await follower.shell("airut secret set IMAP_PASSWORD")

    async def by_signature() -> bytes:
        await _round_trip(around, mailbox.server, sink)
        await mailbox.server.append(around.author.sign(mail("somebody@example.org")))
        await follower.until_told("the mail names no repository's address in To or Cc")
        await mailbox.server.append(
            around.author.sign(mail(MAILBOX, subject="Open"), include_headers=EXCHANGE_COVERS)
        )
        await follower.until_told("does not cover To and Cc")
        return (SAMPLES / "fastmail.eml").read_bytes()

    async def by_the_server() -> bytes:
        judged = verdict + mail(MAILBOX, subject="Judged by the server")
        await mailbox.server.append(judged)
        await answer_to(sink, judged)
        return judged

    def adapt(config: dict[str, Any]) -> None:
        _by_smtp(config["email"], around.world, sink.port)
        mailbox.put_into(config["email"])

    async with sink.running(), _mailbox(around, "") as mailbox:
        follower = around.follower(
            "email/mailbox",
            [by_signature, by_the_server],
            adapt=adapt,
            secrets={"SMTP_PASSWORD": PASSWORD},
            then={"airut up": no_password, "airut secret set IMAP_PASSWORD": wrong_password},
        )
        async with followed(around, follower):
            assert await mailbox.server.subjects() == []


async def _round_trip(around: Surroundings, server: Dovecot, sink: MailSink) -> Delivered:
    signed = around.author.sign(mail(MAILBOX))
    await server.append(signed)
    answer = await answer_to(sink, signed)
    await server.wait_until("INBOX", [])
    return answer


def _by_smtp(email: dict[str, Any], world: World, relay: int) -> None:
    """This test's ports and files; what else the page says stays."""
    email["relay"] |= {"host": "localhost", "port": relay}
    if "listen" in email:
        email["listen"] = "127.0.0.1:0"
    if "tls" in email:
        files = world.ca.issue("localhost")
        email["tls"] = {"certificate": str(files.certificate), "key": str(files.key)}
    if "allowed_peers" in email:
        email["allowed_peers"] = ["127.0.0.0/8"]
    if "peers" in email["authentication"]:
        email["authentication"]["peers"] = ["127.0.0.0/8"]


def _as_of_now(name: str) -> bytes:
    """A sample that has just been delivered."""
    text = (SAMPLES / name).read_text()
    dated = re.sub(r"^Date: .*$", f"Date: {format_datetime(datetime.now(UTC))}", text, flags=re.MULTILINE)
    return dated.replace("\n", "\r\n").encode()


class Tokens:
    """The authorization servers of Microsoft and Google: RFC 6749 §4.1, §4.4 and §6, and who has a token."""

    def __init__(self, client_secret: str) -> None:
        self._client_secret = client_secret
        self.granted: list[dict[str, str]] = []

    def application(self) -> FastAPI:
        """As an ASGI application."""
        web = FastAPI(openapi_url=None)

        @web.get("/o/oauth2/v2/auth")
        async def authorize(
            client_id: str, redirect_uri: str, response_type: str, scope: str, access_type: str
        ) -> Response:
            asked = (response_type, scope, access_type)
            if not client_id or asked != ("code", "https://mail.google.com/", "offline"):
                return JSONResponse({"error": "invalid_request"}, 400)
            return RedirectResponse(f"{redirect_uri}/?code=4/one-time&scope={scope}", 302)

        @web.post("/example.org/oauth2/v2.0/token")
        async def microsoft(request: Request) -> Response:
            form = dict(parse_qsl((await request.body()).decode()))
            if form["client_secret"] != self._client_secret:
                why = "AADSTS7000215: Invalid client secret provided."
                return JSONResponse(
                    {"error": "invalid_client", "error_description": why, "error_codes": [7000215]}, 401
                )
            return self._grant(form, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599})

        @web.post("/token")
        async def google(request: Request) -> Response:
            form = dict(parse_qsl((await request.body()).decode()))
            given = {
                "authorization_code": form.get("code") == "4/one-time",
                "refresh_token": form.get("refresh_token") == "1//refresh",
            }
            if form.get("client_secret") != self._client_secret:
                return JSONResponse(
                    {"error": "invalid_client", "error_description": "The OAuth client was not found."}, 401
                )
            if not given.get(form["grant_type"]):
                why = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
                return JSONResponse(why, 400)
            more = {"refresh_token": "1//refresh"} if "code" in form else {}
            return self._grant(form, {"token_type": "Bearer", "expires_in": 3599} | more)

        @web.get("/who")
        async def who(access_token: str) -> Response:
            good = access_token.startswith("access-")
            return JSONResponse(
                {"username": MAILBOX, "active": "true"} if good else {"error": "invalid_token"}
            )

        return web

    def _grant(self, form: dict[str, str], answer: dict[str, Any]) -> Response:
        self.granted.append(form)
        return JSONResponse(answer | {"access_token": f"access-{len(self.granted)}"})


@dataclass
class GivenMailbox:
    """A provider: Dovecot, and its token endpoint."""

    server: Dovecot
    tokens: Tokens
    port: int
    """Of the token endpoint."""

    def put_into(self, email: dict[str, Any]) -> None:
        """Let a configuration lead here."""
        if (imap := email.get("imap")) is None:
            return
        imap |= {"host": "localhost", "port": self.server.tls_port}
        if (oauth2 := imap.get("oauth2")) is not None:
            path = {"microsoft": "/example.org/oauth2/v2.0/token", "google": "/token"}[oauth2["provider"]]
            oauth2["token_url"] = f"https://localhost:{self.port}{path}"


PASSDB = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {root}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {root}/users
}}
"""


@asynccontextmanager
async def _mailbox(around: Surroundings, client_secret: str) -> AsyncIterator[GivenMailbox]:
    tokens = Tokens(client_secret)
    files = around.world.ca.issue("localhost", "oauth2.googleapis.com", "accounts.google.com")
    async with AsyncExitStack() as stack:
        port = urlsplit("//" + await stack.enter_async_context(serve_https(tokens.application(), files))).port
        assert port is not None
        folder = stack.enter_context(dovecot_folder())
        server = Dovecot(folder, passdb=PASSDB)
        with (folder / "users").open("a") as users:
            users.write(f"{MAILBOX}:{{PLAIN}}{PASSWORD}\n")
        shutil.copy(around.world.ca.file, folder / "world.pem")
        (folder / "oauth2.conf").write_text(
            f"tokeninfo_url = https://localhost:{port}/who?access_token=\nusername_attribute = username\n"
            f"active_attribute = active\nactive_value = true\ntls_ca_cert_file = {folder}/world.pem\n"
        )
        _trust(around.authorities, server.ca_file)
        await stack.enter_async_context(server.running())
        yield GivenMailbox(server, tokens, port)

"""The wiring: configuration, secrets, SMTP listener, reply consumer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Self

import structlog

from airut_common.bus.topology import EMAIL_ACKNOWLEDGEMENTS, EMAIL_REPLIES
from airut_common.config.imap import ImapConfig
from airut_common.config.models import EmailConfig
from airut_common.config.store import WatchedConfig, watch_config
from airut_common.contracts.v1 import Acknowledgement, Reply
from airut_common.lifecycle import Service
from airut_common.sealed import ServiceKey, WatchedSecrets, watch_secrets
from airut_common.secrets import Secret
from airut_gateway_email.age import longest_age
from airut_gateway_email.errors import secret_missing
from airut_gateway_email.handlers import AcknowledgementHandler, Outbound, ReplyHandler
from airut_gateway_email.imap_in import ImapFetcher, ImapRules
from airut_gateway_email.imap_session import ImapFailed
from airut_gateway_email.intake import Intake
from airut_gateway_email.ledger import SentLedger
from airut_gateway_email.oauth2 import AccessTokens, TokenFailed
from airut_gateway_email.recipients import find_recipient
from airut_gateway_email.refusals import RefusalReporter
from airut_gateway_email.sender_auth import Resolver
from airut_gateway_email.sending import Sending
from airut_gateway_email.signing import MailSigner
from airut_gateway_email.smtp_in.listener import SmtpListener
from airut_gateway_email.smtp_in.settings import Login, SmtpRules, SmtpSettings
from airut_gateway_email.smtp_out import Relay
from airut_gateway_email.tls import CertificateStore

NAME = "gateway-email"
DRAIN_SECONDS = 4.0
REPLIES_AT_ONCE = 4

log = structlog.get_logger()


async def run(service: Service) -> None:
    """Take mail in, by SMTP or from a mailbox, and send replies until the service is asked to stop.

    Raises:
        OSError: the configured address cannot be listened on, or its certificate cannot be read.
    """

    async def problem(text: str) -> None:
        await service.report("error", "config_invalid", text)

    stack = service.exit_stack
    config = await stack.enter_async_context(watch_config(service.bus, on_problem=problem))
    key = ServiceKey.load_or_create(service.settings.state_dir / "service.key")
    secrets = await stack.enter_async_context(watch_secrets(service.bus, NAME, key))
    secret = partial(secrets.get, None)
    live = await LiveSettings.open(config, secret)
    spool = service.settings.state_dir

    def age() -> timedelta:
        return longest_age(config.server.retention.conversation_days)

    intake = Intake(
        service.bus,
        email=lambda: live.email,
        repos=lambda: config.repos,
        groups=lambda: config.server.groups,
        resolver=lambda: live.resolver,
        longest_age=age,
        spool=spool,
    )
    refused = RefusalReporter(service.report, time.monotonic)
    rules = SmtpRules(
        settings=live.smtp,
        recipient=lambda address: find_recipient(address, config.repos),
        accept=intake.accept,
        refused=refused,
        spool=spool,
    )
    tokens = AccessTokens(secret, service.settings.state_dir / "imap-refresh-token")
    credentials = MailboxCredentials(secrets, tokens)
    fetcher = ImapFetcher(
        ImapRules(
            settings=lambda: live.email.imap,
            max_message_bytes=lambda: live.email.max_message_bytes,
            longest_age=age,
            repos=lambda: config.repos,
            credential=credentials.get,
            credential_refused=tokens.drop,
            accept=intake.accept,
            refused=refused,
            report=service.report,
            spool=spool,
        )
    )
    relay = Relay(lambda: live.email.relay, secret)
    stack.callback(relay.close)
    signer = MailSigner(lambda: live.email.dkim, secret)
    ledger = SentLedger(service.settings.state_dir / "sent-replies")
    sending = Sending()

    def hostname() -> str:
        return live.email.hostname

    def addresses(repo: str) -> Sequence[str]:
        return config.repos[repo].address if repo in config.repos else ()

    out = Outbound(relay, signer, ledger, sending, hostname, addresses)
    replies = ReplyHandler(service.bus, out, service.report)
    taken = AcknowledgementHandler(out)
    service.spawn("replies", service.bus.consume(EMAIL_REPLIES, Reply, replies, concurrency=REPLIES_AT_ONCE))
    service.spawn("acknowledgements", service.bus.consume(EMAIL_ACKNOWLEDGEMENTS, Acknowledgement, taken))
    service.spawn("imap", fetcher.run())
    service.spawn("imap-secrets", _follow_secrets(secrets, fetcher))
    try:
        await _serve(service, config, live, rules, fetcher)
    finally:
        await asyncio.gather(fetcher.close(DRAIN_SECONDS), sending.finish(DRAIN_SECONDS))


class MailboxCredentials:
    """What to log in to the mailbox with."""

    def __init__(self, secrets: WatchedSecrets, tokens: AccessTokens) -> None:
        self._secrets = secrets
        self._tokens = tokens

    async def get(self, config: ImapConfig) -> Secret:
        """Its password, or an access token.

        Raises:
            ImapFailed: there is none.
        """
        if config.oauth2 is not None:
            try:
                return await self._tokens.get(config.oauth2)
            except TokenFailed as error:
                raise ImapFailed(str(error)) from None
        name = config.password_secret or ""
        password = self._secrets.get(None, name)
        if password is None:
            raise ImapFailed(secret_missing(name))
        return password


class LiveSettings:
    """The mail configuration as it is now, and what is built from it."""

    def __init__(
        self,
        config: WatchedConfig,
        secret: Callable[[str], Secret | None],
        email: EmailConfig,
        resolver: Resolver,
    ) -> None:
        self._config = config
        self._secret = secret
        self._certificates = CertificateStore()
        self._last = email
        self.resolver = resolver
        """The DNS server in use."""
        self._resolver_at = email.authentication.resolver

    @classmethod
    async def open(cls, config: WatchedConfig, secret: Callable[[str], Secret | None]) -> Self:
        """Begin with the present configuration.

        Raises:
            LookupError: it has no email section.
            OSError: its DNS server's name cannot be resolved, or the system knows no server.
        """
        email = config.server.email
        if email is None:
            raise LookupError("the configuration has no email section")
        return cls(config, secret, email, await Resolver.at(email.authentication.resolver))

    @property
    def email(self) -> EmailConfig:
        """The present settings; the last ones, should the channel have been taken out of the configuration."""
        self._last = self._config.server.email or self._last
        return self._last

    def smtp(self) -> SmtpSettings:
        """What the next connection works with."""
        email = self.email
        tls = self._certificates.context(email.tls)
        login = None
        if email.login is not None:
            login = Login(email.login.username, self._secret(email.login.password_secret))
        return SmtpSettings(
            hostname=email.hostname,
            max_message_bytes=email.max_message_bytes,
            tls=tls,
            require_tls=email.require_tls,
            login=login,
            allowed_peers=email.allowed_peers,
            proxy_peers=email.proxy_peers,
        )

    async def follow_resolver(self) -> None:
        """Use the configured DNS server.

        Raises:
            OSError: its name cannot be resolved, or the system knows no server.
        """
        wanted = self.email.authentication.resolver
        if wanted != self._resolver_at:
            self.resolver, self._resolver_at = await Resolver.at(wanted), wanted


async def _follow_secrets(secrets: WatchedSecrets, fetcher: ImapFetcher) -> None:
    while True:
        await secrets.wait_changed()
        fetcher.wake()


async def _serve(
    service: Service, config: WatchedConfig, live: LiveSettings, rules: SmtpRules, fetcher: ImapFetcher
) -> None:
    """Listen; again at another address when the configuration says so. Everything else takes effect by itself."""
    listener, listen = await _open(service, live, rules)
    mailbox = live.email.imap
    stopping = asyncio.ensure_future(service.stopping.wait())
    try:
        while not stopping.done():
            changed = asyncio.ensure_future(config.wait_changed())
            await asyncio.sleep(
                0
            )  # it watches from here on, so that no change is missed while the last one is applied
            await _follow_change(service, live)
            if live.email.smtp != listen:
                await listener.close(DRAIN_SECONDS)
                listener, listen = await _open(service, live, rules)
            if live.email.imap != mailbox:
                mailbox = live.email.imap
                fetcher.wake()
            await asyncio.wait({changed, stopping}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
    finally:
        stopping.cancel()
        await listener.close(DRAIN_SECONDS)


async def _open(service: Service, live: LiveSettings, rules: SmtpRules) -> tuple[SmtpListener, str | None]:
    """Listen, if the configuration says so. A listener that has not been started may be closed all the same."""
    live.smtp()  # a certificate that cannot be read should be said now, not at the first connection
    listen = live.email.smtp
    listener = SmtpListener(rules)
    addresses = {}
    if listen is not None:
        host, _, port = listen.rpartition(":")
        addresses["smtp"] = await listener.start(host.strip("[]"), int(port))
    await service.ready(addresses)
    return listener, listen


async def _follow_change(service: Service, live: LiveSettings) -> None:
    try:
        await live.follow_resolver()
        live.smtp()
    except OSError as error:
        await service.report("error", "config_invalid", f"the new mail settings cannot be used: {error}")

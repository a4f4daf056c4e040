"""Connections to the relay that are kept for the next mail. A connection is lent to one mail at a time."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiosmtplib

from airut_common.config.models import RelayConfig
from airut_common.secrets import Secret
from airut_gateway_email.tls import verifying_context

CONNECT_SECONDS = 30.0
IDLE_SECONDS = 20.0
"""Shorter than any relay's own limit (Postfix waits for 300 s), so that a kept connection is rarely found dead."""


class Misconfigured(Exception):
    """Our own settings are at fault."""


@dataclass(frozen=True)
class Login:
    """Where a connection leads and as whom. Connections of another login are never used again."""

    relay: RelayConfig
    password: str | None

    @classmethod
    def of(cls, relay: RelayConfig, password: Secret | None) -> "Login":
        """Put settings and secret together."""
        return cls(relay, password.reveal() if password else None)

    def __repr__(self) -> str:
        return f"Login({self.relay.host}:{self.relay.port})"


class RelayConnections:
    """Lends a connection that works, an old one or a new one."""

    def __init__(self) -> None:
        self._idle: list[tuple[Login, aiosmtplib.SMTP, asyncio.TimerHandle]] = []

    @asynccontextmanager
    async def lend(self, login: Login) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection that has been greeted and logged in. After an error it is closed, whatever the error was.

        Raises:
            Misconfigured, aiosmtplib.SMTPException, OSError: there is none.
        """
        client = await self._kept(login) or await _connected(login)
        try:
            yield client
        except BaseException:
            client.close()
            raise
        self._keep(login, client)

    def close(self) -> None:
        """Hang up what is kept."""
        while self._idle:
            _, client, timer = self._idle.pop()
            timer.cancel()
            client.close()

    async def _kept(self, login: Login) -> aiosmtplib.SMTP | None:
        while self._idle:
            kept_for, client, timer = self._idle.pop()
            timer.cancel()
            if kept_for == login and client.is_connected:
                # Nothing of a mail has been said yet, so a dead connection costs a question and never a second copy.
                with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                    await client.rset(timeout=CONNECT_SECONDS)
                    return client
            client.close()
        return None

    def _keep(self, login: Login, client: aiosmtplib.SMTP) -> None:
        timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._forget, client)
        self._idle.append((login, client, timer))

    def _forget(self, client: aiosmtplib.SMTP) -> None:
        self._idle = [kept for kept in self._idle if kept[1] is not client]
        client.close()


async def _connected(login: Login) -> aiosmtplib.SMTP:
    relay = login.relay
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username,
        password=login.password,
        use_tls=relay.security == "tls",
        start_tls=relay.security == "starttls",
        tls_context=None if relay.security == "plain" else _tls_context(relay.ca_file),
        timeout=CONNECT_SECONDS,
    )
    try:
        await client.connect()
    except BaseException:
        client.close()
        raise
    return client


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return verifying_context(ca_file)
    except OSError as error:
        raise Misconfigured(f"relay.ca_file {ca_file} cannot be used: {error}") from None

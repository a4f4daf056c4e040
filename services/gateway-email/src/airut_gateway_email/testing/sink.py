"""A mail server that keeps what it gets, or refuses as told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any, override

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass(frozen=True)
class Delivered:
    """One mail as it came."""

    mail_from: str
    recipients: tuple[str, ...]
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """It, parsed."""
        parsed = message_from_bytes(self.data, policy=SMTP_POLICY)
        assert isinstance(parsed, EmailMessage)
        return parsed


class _Kept(SMTP):
    """A connection that a test can cut."""

    def __init__(self, transports: list[asyncio.Transport], *args: Any, **options: Any) -> None:
        self._transports = transports
        super().__init__(*args, **options)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transports.append(transport)
        super().connection_made(transport)


class MailSink:
    """Accepts everything, unless `answers` holds a line to give to the next mail instead of 250."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        size: int = 32 * 1024 * 1024,
        international: bool = False,
    ) -> None:
        self.mails: asyncio.Queue[Delivered] = asyncio.Queue()
        self.answers: list[str] = []
        self.attempts = 0
        self.connections = 0
        self.transports: list[asyncio.Transport] = []
        self.port = 0
        self._size = size
        self._tls = tls
        self._login = login
        self._international = international

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["MailSink"]:
        """Listen on 127.0.0.1 while the context is open."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connection, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            server.abort_clients()

    async def next(self, timeout_seconds: float = 20) -> Delivered:
        """The next mail that arrives."""
        return await asyncio.wait_for(self.mails.get(), timeout_seconds)

    def _connection(self) -> SMTP:
        self.connections += 1
        return _Kept(
            self.transports,
            self,
            data_size_limit=self._size,
            enable_SMTPUTF8=self._international,
            hostname="sink.example",
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            authenticator=self._authenticate if self._login else None,
            auth_required=self._login is not None,
            auth_require_tls=self._tls is not None,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        assert self._login is not None
        good = (data.login.decode(), data.password.decode()) == self._login
        return AuthResult(success=good, handled=False)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep a mail."""
        self.attempts += 1
        if self.answers:
            return self.answers.pop(0)
        self.mails.put_nowait(
            Delivered(envelope.mail_from, tuple(envelope.rcpt_tos), bytes(envelope.original_content))
        )
        return "250 2.0.0 kept"

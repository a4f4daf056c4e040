"""SMTP in: one listener in our own event loop, with limits, deadlines and answers that say what is wrong."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, override

import structlog
from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from airut_common.contracts.v1 import utc_now
from airut_gateway_email.errors import MailError, MailLater, MailRefused, printable
from airut_gateway_email.recipients import Recipient
from airut_gateway_email.requests import Arrival
from airut_gateway_email.sender_auth import Envelope

MAX_CONNECTIONS = 300
MAX_CONNECTIONS_PER_PEER = 20
MAX_TRANSFERS = 8
"""Mails being received or judged at the same moment; each may hold the largest allowed size in memory."""
IDLE_SECONDS = 60.0
TRANSFER_SECONDS = 240.0
COMMANDS_PER_CONNECTION = {"MAIL": 100, "RCPT": 200, "DATA": 100, "RSET": 100, "NOOP": 100, "*": 20}

log = structlog.get_logger()


@dataclass(frozen=True)
class SmtpSettings:
    """What a new connection works with."""

    hostname: str
    max_message_bytes: int
    tls: ssl.SSLContext | None
    require_tls: bool = False


@dataclass(frozen=True)
class SmtpRules:
    """What the listener asks the rest of the gateway."""

    settings: Callable[[], SmtpSettings]
    recipient: Callable[[str], Recipient | None]
    """The repository with this address."""
    accept: Callable[[Arrival], Awaitable[str]]
    """Store a mail and return its request id; raises `MailError`."""
    refused: Callable[[MailError, str, str | None], Awaitable[None]]
    """Tell the operator: the error, the client's address, the repository if known."""


class SmtpListener:
    """Listens until closed."""

    def __init__(self, rules: SmtpRules) -> None:
        self._gate = _Gate()
        self._rules = rules
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> str:
        """Listen; returns the real `host:port`.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._rules, self._gate), host, port, backlog=128
        )
        name = self._server.sockets[0].getsockname()
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    async def close(self, drain_seconds: float) -> None:
        """Take no new connections, let running transfers end for a while, then hang up."""
        if self._server is None:
            return
        self._server.close()
        try:
            async with asyncio.timeout(drain_seconds):
                await self._gate.no_transfers.wait()
        except TimeoutError:
            log.warning("transfers_cut_off")
        self._server.abort_clients()
        await self._server.wait_closed()


class _Gate:
    """Counts connections and transfers."""

    def __init__(self) -> None:
        self._peers: Counter[str] = Counter()
        self._transfers = 0
        self.no_transfers = asyncio.Event()
        self.no_transfers.set()

    def enter(self, peer: str) -> bool:
        if self._peers.total() >= MAX_CONNECTIONS or self._peers[peer] >= MAX_CONNECTIONS_PER_PEER:
            return False
        self._peers[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        self._peers[peer] -= 1
        self._peers += Counter()  # forgets peers that are at zero

    def begin_transfer(self) -> bool:
        if self._transfers >= MAX_TRANSFERS:
            return False
        self._transfers += 1
        self.no_transfers.clear()
        return True

    def end_transfer(self) -> None:
        self._transfers -= 1
        if not self._transfers:
            self.no_transfers.set()


class _MailEnvelope(SmtpEnvelope):
    """One mail transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.recipient: Recipient | None = None


class _Connection(SMTP):
    """aiosmtpd's protocol with our limits around it."""

    def __init__(self, rules: SmtpRules, gate: _Gate) -> None:
        settings = rules.settings()
        self._rules = rules
        self._gate = gate
        self._peer: str | None = None
        too_large = MailRefused(
            f"the mail is larger than {settings.max_message_bytes} bytes", code=552, status="5.3.4"
        )
        self._refusals = {
            "Error: message size exceeds fixed maximum message size": too_large,
            "Error: Too much mail data": too_large,
            "Line too long (see RFC5321 4.5.3.1.6)": MailRefused(
                "the mail has a line of more than 998 characters (RFC 5321 4.5.3.1.6)", status="5.6.0"
            ),
        }
        super().__init__(
            _Hooks(rules),
            data_size_limit=settings.max_message_bytes,
            hostname=settings.hostname,
            ident="ESMTP Airut",
            tls_context=settings.tls,
            require_starttls=settings.require_tls,
            timeout=IDLE_SECONDS,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            command_call_limit=COMMANDS_PER_CONNECTION,
            loop=asyncio.get_running_loop(),
        )

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Called a second time, for the same connection, when TLS has started.
        if self._peer is None:
            peer = str((transport.get_extra_info("peername") or ("?",))[0])
            if not self._gate.enter(peer):
                _turn_away(transport)
                return
            self._peer = peer
        super().connection_made(transport)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        if self._peer is not None:
            self._gate.leave(self._peer)
            self._peer = None
            super().connection_lost(error)

    @override
    def _create_envelope(self) -> _MailEnvelope:
        return _MailEnvelope()

    @override
    async def _handle_client(self) -> None:
        try:
            await super()._handle_client()
        except ConnectionError:
            log.debug("client_hung_up", peer=self._peer)

    @override
    async def push(self, status: Any) -> None:
        """Answers that aiosmtpd gives by itself about a mail become ours, and known to the operator."""
        own = self._refusals.get(str(status).partition(" ")[2])
        if own is not None:
            envelope = self.envelope
            recipient = envelope.recipient if isinstance(envelope, _MailEnvelope) else None
            await self._rules.refused(own, self._peer or "?", recipient.repo if recipient else None)
            status = own.smtp_answer()
        await super().push(status)

    @override
    async def smtp_DATA(self, arg: str | None) -> None:
        if not self._gate.begin_transfer():
            await self.push("451 4.3.2 too many mails at the same time; try again later")
            return
        # The idle clock of aiosmtpd would cut off a slow but allowed transfer.
        self._reset_timeout(TRANSFER_SECONDS + IDLE_SECONDS)
        deadline = asyncio.get_running_loop().call_later(TRANSFER_SECONDS, self._cut_off)
        try:
            await super().smtp_DATA(arg)
        finally:
            deadline.cancel()
            self._gate.end_transfer()
            if self.transport is not None:
                self._reset_timeout()

    def _cut_off(self) -> None:
        """Say why and hang up; that cancels what the transfer was doing."""
        self._writer.write(b"421 4.4.2 the mail took too long\r\n")
        self._writer.close()


def _turn_away(transport: Any) -> None:
    transport.set_protocol(asyncio.Protocol())
    transport.write(b"421 4.7.0 too many connections; try again later\r\n")
    transport.close()


class _Hooks:
    """What aiosmtpd asks at each step of a session."""

    def __init__(self, rules: SmtpRules) -> None:
        self._rules = rules

    async def handle_EHLO(  # noqa: N802  aiosmtpd finds it by this name
        self, _server: SMTP, session: Any, _envelope: _MailEnvelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if not line.startswith("250-AUTH")]

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, session: Any, envelope: _MailEnvelope, address: str, _options: list[str]
    ) -> str:
        found = self._rules.recipient(address)
        if found is None:
            error = MailRefused(
                f"there is no repository with the address {printable(address)}", status="5.1.1"
            )
            await self._rules.refused(error, _peer(session), None)
            return error.smtp_answer()
        if envelope.recipient is not None:
            # The client sends the mail once more for the others (RFC 5321 §4.5.3.1.10).
            return "452 4.5.3 one recipient at a time"
        envelope.recipient = found
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: _MailEnvelope) -> str:  # noqa: N802
        recipient, content = envelope.recipient, envelope.original_content
        if recipient is None or content is None:
            return "503 5.5.1 RCPT first"
        arrival = Arrival(
            Envelope(_peer(session), session.host_name or "", envelope.mail_from or ""),
            recipient,
            bytes(content),
            utc_now(),
        )
        try:
            request = await self._rules.accept(arrival)
        except MailError as error:
            await self._rules.refused(error, _peer(session), recipient.repo)
            return error.smtp_answer()
        return f"250 2.6.0 accepted as {request}"

    async def handle_exception(self, _error: Exception) -> str:
        log.exception("smtp_session_failed")
        return MailLater("an internal error; try again later", status="4.3.0").smtp_answer()


def _peer(session: Any) -> str:
    return str((session.peer or ("?",))[0])

"""One SMTP session: limits, deadlines and answers that say what is wrong."""

import asyncio
from contextlib import closing
from typing import Any, override

import structlog
from aiosmtpd.proxy_protocol import ProxyData
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from airut_common.contracts.v1 import utc_now
from airut_gateway_email.errors import MailError, MailLater, MailRefused, printable
from airut_gateway_email.recipients import Recipient
from airut_gateway_email.requests import Arrival
from airut_gateway_email.sender_auth import Envelope
from airut_gateway_email.smtp_in.admission import UNKNOWN, Gate, plain_address
from airut_gateway_email.smtp_in.lines import StrictLines, is_unicode
from airut_gateway_email.smtp_in.receiving import Flooding, receive
from airut_gateway_email.smtp_in.settings import SmtpRules, SmtpSettings
from airut_gateway_email.spool import Incoming, SpoolFile
from airut_mail_auth.message import MAX_HEADER_BYTES, InMemory

IDLE_SECONDS = 60.0
TRANSFER_SECONDS = 240.0
PROXY_SECONDS = 5.0
COMMANDS_PER_CONNECTION = {
    "MAIL": 100,
    "RCPT": 200,
    "DATA": 100,
    "RSET": 100,
    "NOOP": 100,
    "AUTH": 3,
    "*": 20,
}

_NOT_INTRODUCED = MailRefused(
    "a connection of a proxy did not begin with a PROXY header", code=554, status="5.5.1"
)
_UNDECLARED = "553 5.6.7 an international address needs SMTPUTF8 (RFC 6531)"
_ODD_HOST = "501 5.5.4 a host is named by letters of ASCII"

log = structlog.get_logger()


class _MailEnvelope(SmtpEnvelope):
    """One mail transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.recipient: Recipient | None = None


class Session(SMTP):
    """aiosmtpd's protocol with our limits around it."""

    def __init__(
        self, rules: SmtpRules, settings: SmtpSettings, gate: Gate, client: str, *, proxy: str | None
    ) -> None:
        """`client` has entered the gate; behind a proxy it is `UNKNOWN` until that has said who it is."""
        self.client = client
        self._rules = rules
        self._settings = settings
        self._gate = gate
        self._lost = False
        self._proxy = proxy
        self.introduced = False
        """Whether the proxy has sent its header."""
        self._refusals = _refusals(settings)
        self.offers_login = settings.login is not None
        super().__init__(
            _Hooks(rules),
            data_size_limit=settings.max_message_bytes,
            enable_SMTPUTF8=True,
            hostname=settings.hostname,
            ident="ESMTP Airut",
            tls_context=settings.tls,
            require_starttls=settings.require_tls,
            timeout=IDLE_SECONDS,
            auth_required=self.offers_login,
            authenticator=self._log_in,
            auth_exclude_mechanism=() if self.offers_login else ("LOGIN", "PLAIN"),
            command_call_limit=COMMANDS_PER_CONNECTION,
            proxy_protocol_timeout=PROXY_SECONDS if proxy else None,
            loop=asyncio.get_running_loop(),
        )

    @override
    def connection_lost(self, error: Exception | None) -> None:
        if not self._lost:  # it is lost twice when TLS has been started
            self._lost = True
            self._gate.leave(self.client)
            super().connection_lost(error)

    async def introduce(self, client: str) -> bool:
        """The proxy has said for whom it connects; False ends the session."""
        error = self._gate.enter(client, self._settings)
        if error is not None:
            await self._rules.refused(error, client, None)
            await self.push(error.smtp_answer())
            return False
        self._gate.leave(self.client)
        self.client = client
        return True

    @override
    def _create_envelope(self) -> _MailEnvelope:
        return _MailEnvelope()

    @override
    def _cb_client_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super()._cb_client_connected(StrictLines.of(reader, self._refuse_line), writer)

    def _refuse_line(self) -> None:
        self._writer.write(b"500 5.5.2 a line must end with CRLF and have no other CR or LF\r\n")

    @override
    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        # What is no UTF-8 comes as surrogates, which nothing behind here could write down.
        return super()._getaddr(arg) if is_unicode(arg) else (None, None)

    @override
    async def smtp_EHLO(self, hostname: str) -> None:
        await (super().smtp_EHLO(hostname) if (hostname or "").isascii() else self.push(_ODD_HOST))

    @override
    async def smtp_HELO(self, hostname: str) -> None:
        await (super().smtp_HELO(hostname) if (hostname or "").isascii() else self.push(_ODD_HOST))

    @override
    async def _handle_client(self) -> None:
        try:
            await super()._handle_client()
        except ConnectionError:
            log.debug("client_hung_up", peer=self.client)
        finally:
            if self._proxy and not self.introduced:
                await self._rules.refused(_NOT_INTRODUCED, self._proxy, None)

    def _log_in(
        self, _server: SMTP, _session: Any, _envelope: SmtpEnvelope, _mechanism: str, data: Any
    ) -> AuthResult:
        login = self._settings.login
        if login is None or not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        return AuthResult(success=login.fits(data.login, data.password), handled=False)

    @override
    async def push(self, status: Any) -> None:
        """Answers that aiosmtpd gives by itself about a mail become ours, and known to the operator."""
        own = self._refusals.get(str(status).partition(" ")[2])
        if own is not None:
            envelope = self.envelope
            recipient = envelope.recipient if isinstance(envelope, _MailEnvelope) else None
            await self._rules.refused(own, self.client, recipient.repo if recipient else None)
            status = own.smtp_answer()
        # Some of aiosmtpd's answers repeat what the client said.
        await super().push(status.encode("ascii", "replace") if isinstance(status, str) else status)

    @override
    async def smtp_DATA(self, arg: str | None) -> None:
        if not self._gate.begin_transfer(self.client):
            await self.push("451 4.3.2 too many mails at the same time; try again later")
            return
        # The idle clock of aiosmtpd would cut off a slow but allowed transfer.
        self._reset_timeout(TRANSFER_SECONDS + IDLE_SECONDS)
        deadline = asyncio.get_running_loop().call_later(TRANSFER_SECONDS, self._cut_off)
        try:
            with Incoming(self._rules.spool) as incoming:
                await self._take(arg, incoming)
        finally:
            deadline.cancel()
            self._gate.end_transfer(self.client)
            if self.transport is not None:
                self._reset_timeout()

    async def _take(self, arg: str | None, incoming: Incoming) -> None:
        """aiosmtpd's own way to take DATA holds all lines of it in memory."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        envelope = self.envelope
        if not isinstance(envelope, _MailEnvelope) or envelope.recipient is None:
            await self.push("503 5.5.1 RCPT first")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            await receive(
                self._reader,
                incoming,
                max_bytes=self._settings.max_message_bytes,
                max_line=self.line_length_limit,
            )
            answer = await self._accept(envelope, envelope.recipient, await incoming.finish())
        except MailError as error:
            await self._rules.refused(error, self.client, envelope.recipient.repo)
            answer = error.smtp_answer()
            if isinstance(error, Flooding):
                self._writer.write(answer.encode() + b"\r\n")
                self._writer.close()
                return
        self.envelope = self._create_envelope()
        await self.push(answer)

    async def _accept(self, envelope: _MailEnvelope, recipient: Recipient, data: bytes | SpoolFile) -> str:
        host_name = self.session.host_name if self.session else None
        if not envelope.smtp_utf8:
            _require_ascii(data)
        said = Envelope(self.client, host_name or "", envelope.mail_from or "")
        request = await self._rules.accept(Arrival(said, recipient, data, utc_now()))
        return f"250 2.6.0 accepted as {request}"

    def _cut_off(self) -> None:
        """Say why and hang up; that cancels what the transfer was doing."""
        self._writer.write(b"421 4.4.2 the mail took too long\r\n")
        self._writer.close()


def _refusals(settings: SmtpSettings) -> dict[str, MailError]:
    """What aiosmtpd says by itself, and what is said instead."""
    too_large = MailRefused(
        f"the mail is larger than {settings.max_message_bytes} bytes", code=552, status="5.3.4"
    )
    wrong_login: MailError = MailRefused("the user name or the password is wrong", code=535, status="5.7.8")
    if settings.login is not None and settings.login.password is None:
        wrong_login = MailLater("nobody can log in: its secret is not set", code=454, status="4.7.0")
    return {
        "Error: message size exceeds fixed maximum message size": too_large,
        "5.7.8 Authentication credentials invalid": wrong_login,
    }


def _require_ascii(data: bytes | SpoolFile) -> None:
    """RFC 6531 §3.4: who sends other headers says so before."""
    head = bytearray()
    with closing((InMemory(data) if isinstance(data, bytes) else data).pieces()) as pieces:
        for piece in pieces:
            head += piece
            if b"\r\n\r\n" in head or len(head) > MAX_HEADER_BYTES:
                break
    if not head.partition(b"\r\n\r\n")[0].isascii():
        raise MailRefused(
            "the mail is malformed: its header contains 8-bit characters, and SMTPUTF8 was not asked for",
            code=554,
            status="5.6.0",
        )


class _Hooks:
    """What aiosmtpd asks at each step of a session."""

    def __init__(self, rules: SmtpRules) -> None:
        self._rules = rules

    async def handle_PROXY(  # noqa: N802  aiosmtpd finds it by this name
        self, server: Session, _session: Any, _envelope: _MailEnvelope, data: ProxyData
    ) -> bool:
        server.introduced = True
        client = plain_address(data.src_addr)
        # A proxy that checks on us names nobody, and may look around but not send.
        return client == UNKNOWN or await server.introduce(client)

    async def handle_EHLO(  # noqa: N802
        self, server: Session, session: Any, _envelope: _MailEnvelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if server.offers_login or not line.startswith("250-AUTH")]

    async def handle_MAIL(  # noqa: N802
        self, _server: Session, _session: Any, envelope: _MailEnvelope, address: str, options: list[str]
    ) -> str:
        if not (address.isascii() or envelope.smtp_utf8):
            return _UNDECLARED
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Session, _session: Any, envelope: _MailEnvelope, address: str, _options: list[str]
    ) -> str:
        if server.client == UNKNOWN:
            error = MailRefused("the proxy did not say who sends this mail")
            await self._rules.refused(error, server.client, None)
            return error.smtp_answer()
        if not (address.isascii() or envelope.smtp_utf8):
            return _UNDECLARED
        found = self._rules.recipient(address)
        if found is None:
            error = MailRefused(
                f"there is no repository with the address {printable(address)}", status="5.1.1"
            )
            await self._rules.refused(error, server.client, None)
            return error.smtp_answer()
        if envelope.recipient is not None:
            # The client sends the mail once more for the others (RFC 5321 §4.5.3.1.10).
            return "452 4.5.3 one recipient at a time"
        envelope.recipient = found
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_exception(self, _error: Exception) -> str:
        log.exception("smtp_session_failed")
        return MailLater("an internal error; try again later", status="4.3.0").smtp_answer()

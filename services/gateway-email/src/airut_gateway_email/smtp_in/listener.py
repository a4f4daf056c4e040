"""One listener in our own event loop."""

import asyncio
from typing import Any, override

import structlog

from airut_gateway_email.errors import MailError, MailRefused
from airut_gateway_email.smtp_in.admission import UNKNOWN, Gate, plain_address
from airut_gateway_email.smtp_in.session import Session
from airut_gateway_email.smtp_in.settings import SmtpRules

log = structlog.get_logger()


class SmtpListener:
    """Listens until closed."""

    def __init__(self, rules: SmtpRules) -> None:
        self._gate = Gate()
        self._rules = rules
        self._server: asyncio.Server | None = None
        self._reports: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> str:
        """Listen; returns the real `host:port`.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Door(self), host, port, backlog=128)
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
        await asyncio.gather(*self._reports, return_exceptions=True)

    def admit(self, transport: Any) -> None:
        """Begin a session with whoever has connected, or turn him away."""
        settings = self._rules.settings()
        peer = plain_address((transport.get_extra_info("peername") or (None,))[0])
        behind_proxy = settings.is_proxy(peer)
        client = UNKNOWN if behind_proxy else peer
        if (error := self._gate.enter(client, settings)) is not None:
            self._turn_away(transport, error, peer)
            return
        session = Session(self._rules, settings, self._gate, client, proxy=peer if behind_proxy else None)
        transport.set_protocol(session)
        session.connection_made(transport)

    def _turn_away(self, transport: Any, error: MailError, peer: str) -> None:
        transport.set_protocol(asyncio.Protocol())
        transport.write(error.smtp_answer().encode() + b"\r\n")
        transport.close()
        if isinstance(error, MailRefused):  # a full house is no news
            report = asyncio.ensure_future(self._rules.refused(error, peer, None))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)


class _Door(asyncio.Protocol):
    """A connection of which nothing is known yet but its other end."""

    def __init__(self, listener: SmtpListener) -> None:
        self._listener = listener

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.admit(transport)

"""A gateway's way out that ends itself by SIGKILL when a delivery reaches a named point. All else is the real code."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, override

import aiosmtplib
import structlog
from nats.aio.msg import Msg

from airut_common.bus import Bus, open_bus
from airut_common.bus.topology import EMAIL_ACKNOWLEDGEMENTS, EMAIL_REPLIES
from airut_common.config.models import RelayConfig
from airut_common.contracts.v1 import Acknowledgement, Reply
from airut_gateway_email.handlers import AcknowledgementHandler, Outbound, ReplyHandler
from airut_gateway_email.ledger import SentLedger
from airut_gateway_email.sending import Sending
from airut_gateway_email.signing import MailSigner
from airut_gateway_email.smtp_out import Relay

log = structlog.get_logger()

Point = Literal[
    "taken",
    "before-connect",
    "connected",
    "after-mail",
    "after-rcpt",
    "before-data",
    "accepted",
    "recorded",
    "acknowledged",
]

CONSUMER = replace(EMAIL_REPLIES, ack_wait=timedelta(milliseconds=600))
"""The gateway's consumer, whose messages come again soon after their reader's death."""
TAKEN_CONSUMER = replace(EMAIL_ACKNOWLEDGEMENTS, ack_wait=CONSUMER.ack_wait)
"""The same for acknowledgements."""


@dataclass(frozen=True)
class Crash:
    """One life of a gateway."""

    nats_url: str
    relay_port: int
    state: Path
    point: Point | None
    """Where it dies; None lives until it is killed from outside."""
    sends: Literal["replies", "acknowledgements"] = "replies"


def live(crash: Crash) -> None:
    """Run until death; the main function of a process. Writes `<point> <task>` to `state/deaths` before it dies."""
    asyncio.run(_live(crash))


async def _live(crash: Crash) -> None:
    die = _Death(crash)
    ledger = _Ledger(crash.state / "sent", die)
    _die_around(aiosmtplib.SMTP, "connect", die, before="before-connect", after="connected")
    _die_around(aiosmtplib.SMTP, "mail", die, after="after-mail")
    _die_around(aiosmtplib.SMTP, "rcpt", die, after="after-rcpt")
    _die_around(aiosmtplib.SMTP, "data", die, before="before-data", after="accepted")
    _die_around(Msg, "ack", die, after="acknowledged")
    async with open_bus(crash.nats_url, name="gateway-email", nkey_seed_file=None) as bus:
        if crash.sends == "replies":
            await bus.consume(CONSUMER, Reply, die.with_each(_replies(crash, bus, ledger)), concurrency=1)
        else:
            acknowledge = die.with_each(AcknowledgementHandler(_out(crash, ledger)))
            await bus.consume(TAKEN_CONSUMER, Acknowledgement, acknowledge, concurrency=1)


def _replies(crash: Crash, bus: Bus, ledger: SentLedger) -> ReplyHandler:
    async def report(level: str, code: str, text: str, repo: str | None = None) -> None:
        log.info("reported", level=level, code=code, text=text, repo=repo)

    return ReplyHandler(bus, _out(crash, ledger), report)


def _out(crash: Crash, ledger: SentLedger) -> Outbound:
    return Outbound(_relay(crash), _SIGNER, ledger, Sending(), _hostname, _addresses)


_SIGNER = MailSigner(lambda: None, lambda _: None)


def _relay(crash: Crash) -> Relay:
    config = RelayConfig(host="127.0.0.1", port=crash.relay_port, security="plain")
    return Relay(lambda: config, lambda _: None)


def _hostname() -> str:
    return "airut.example"


def _addresses(_repo: str) -> tuple[str, ...]:
    return ("demo@airut.example",)


class _Death:
    def __init__(self, crash: Crash) -> None:
        self._point = crash.point
        self._notes = crash.state / "deaths"
        self._task = ""

    def with_each[M: Reply | Acknowledgement](
        self, handler: Callable[[M], Awaitable[None]]
    ) -> Callable[[M], Awaitable[None]]:
        """Note whose turn it is."""

        async def handle(message: M) -> None:
            self._task = message.id
            self.at("taken")
            await handler(message)

        return handle

    def at(self, point: Point) -> None:
        if point == self._point:
            with self._notes.open("a") as file:
                file.write(f"{point} {self._task}\n")
            os.kill(os.getpid(), signal.SIGKILL)


class _Ledger(SentLedger):
    def __init__(self, path: Path, die: _Death) -> None:
        super().__init__(path)
        self._die = die

    @override
    def sent(self, reply: str) -> None:
        super().sent(reply)
        self._die.at("recorded")


def _die_around(
    owner: type, name: str, die: _Death, *, before: Point | None = None, after: Point | None = None
) -> None:
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def around(*args: Any, **options: Any) -> Any:
        if before:
            die.at(before)
        result = await real(*args, **options)
        if after:
            die.at(after)
        return result

    setattr(owner, name, around)

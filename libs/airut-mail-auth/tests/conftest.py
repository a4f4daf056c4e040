"""Fixtures: a judge over the zone server's names."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from airut_mail_auth import Envelope, Proof, Record, Rules, verify_bytes
from airut_mail_auth.dns import DnsResolver
from airut_mail_auth.testing.zones import ZoneServer

CLIENT = "192.0.2.10"


class NotProven(Exception):
    """The judge's answer when there is no proof."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.explanation)
        self.record = record


@pytest.fixture
def judge(zone: ZoneServer) -> Callable[..., Awaitable[Proof]]:
    """Judges a mail; returns the proof or raises `NotProven`. Each call begins with an empty DNS cache."""

    async def judge(
        data: bytes,
        *,
        mail_from: str = "x@bounce.invalid",
        helo: str = "client.invalid",
        now: datetime | None = None,
        **rules: Any,
    ) -> Proof:
        record = await verify_bytes(
            data,
            Envelope(CLIENT, helo, mail_from),
            DnsResolver(("127.0.0.1", zone.port)),
            Rules(**rules),
            now=now or datetime.now(UTC),
        )
        if record.proof is None:
            raise NotProven(record)
        assert record.verdict == "proven"
        return record.proof

    return judge


@pytest.fixture
def refusal() -> Callable[[Awaitable[Proof]], Awaitable[str]]:
    """The explanation of a refusal."""
    return lambda judging: _explanation(judging, "refused")


@pytest.fixture
def deferral() -> Callable[[Awaitable[Proof]], Awaitable[str]]:
    """The explanation of a verdict that has to wait."""
    return lambda judging: _explanation(judging, "later")


async def _explanation(judging: Awaitable[Proof], verdict: str) -> str:
    with pytest.raises(NotProven) as caught:
        await judging
    assert caught.value.record.verdict == verdict
    return str(caught.value)

"""What an operator asks of the running egress-proxy."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from rich.table import Column, Table

from airut.asking import ask
from airut_common.bus import Bus
from airut_common.contracts.v1 import ListSessions, OpenedSession, SessionsListed
from airut_common.contracts.v1.subjects import egress_service
from airut_common.settings import this_host

_LIST_SECONDS: Final = 10.0


async def open_sessions(bus: Bus) -> list[OpenedSession]:
    """All sandboxes that have a network now, by their ids.

    Raises:
        UsageError: the egress-proxy does not answer.
    """
    found: list[OpenedSession] = []
    more = True
    while more:
        question = ListSessions(after=found[-1].sandbox if found else None)
        subject = egress_service(this_host(), "list")
        page = await ask(
            bus, subject, question, SessionsListed, service="egress-proxy", seconds=_LIST_SECONDS
        )
        found += page.sessions
        more = page.more and bool(page.sessions)
    return found


def as_table(sessions: Sequence[OpenedSession]) -> Table:
    """For a terminal of 80 columns."""
    table = Table(
        Column("task", no_wrap=True), "repo", Column("open for", no_wrap=True), box=None, pad_edge=False
    )
    for title in ("requests", "denied"):
        table.add_column(title, justify="right")
    for each in sessions:
        counts = (str(each.requests), str(each.denied)) if each.attached else ("not begun",)
        table.add_row(each.task, each.repo, str(timedelta(seconds=int(each.open_seconds))), *counts)
    return table


def as_json(sessions: Sequence[OpenedSession]) -> str:
    """For programs."""
    return json.dumps([each.model_dump(mode="json") for each in sessions], indent=2)

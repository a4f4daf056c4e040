"""Hosts that share the database: who lives, and what is left of one that does not."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import DateTime, func, select, update
from sqlalchemy.orm import Session

from airut_common.contracts.v1 import utc_now
from airut_orchestrator.database.schema import ACTIVE, Conversation, Host, Task


@dataclass(frozen=True)
class TakenOver:
    """What a lost host left."""

    host: str
    conversations: int
    """Those whose workspaces lie there."""
    tasks: int
    """Those that it was working on."""


def be_seen(session: Session, host: str) -> None:
    """Write down that this host lives."""
    session.merge(Host(name=host, seen_at=_now(session)))


def take_over_from_lost(session: Session, host: str, unseen_for: timedelta) -> list[TakenOver]:
    """Give the conversations of hosts that were not seen for so long to whoever is free, and their leases, ended, to
    `host`. A lost host that comes back finds what it had is no longer its own, unless nobody has begun with it."""
    lost = session.scalars(
        select(Host)
        .where(Host.name != host, Host.seen_at < _now(session) - unseen_for)
        .with_for_update(skip_locked=True)
    ).all()
    return [_take_over(session, host, each) for each in lost]


def _take_over(session: Session, host: str, lost: Host) -> TakenOver:
    conversations = session.scalars(
        update(Conversation)
        .where(Conversation.host == lost.name)
        .values(host=None, lost_with=lost.name)
        .returning(Conversation.id)
    ).all()
    tasks = session.scalars(
        update(Task)
        .where(Task.leased_by == lost.name, Task.state.in_(ACTIVE))
        .values(leased_by=host, leased_until=utc_now())
        .returning(Task.id)
    ).all()
    session.delete(lost)
    return TakenOver(lost.name, len(conversations), len(tasks))


def _now(session: Session) -> datetime:
    """The database's own time where there is one: clocks of hosts differ, and none may take another for lost for it."""
    if session.get_bind().dialect.name == "sqlite":
        return utc_now()
    return session.scalars(select(func.clock_timestamp(type_=DateTime(timezone=True)))).one()

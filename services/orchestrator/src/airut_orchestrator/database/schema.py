"""Tables. The primary key of a task is the request's id: a second delivery changes nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import DateTime, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from airut_common.contracts.v1 import TaskState

#: Under way: leased by a host. A reply that waits for the bus holds its conversation up no longer.
ACTIVE: Sequence[TaskState] = ("preparing", "running")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, stored in UTC; SQLite knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC on the way in."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware on the way out."""
        del dialect
        return value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables."""


class Conversation(Base):
    """One thread: workspace, agent session, folders."""

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    repo: Mapped[str] = mapped_column(String(40))
    agent_session: Mapped[str | None] = mapped_column(String(64))
    host: Mapped[str | None] = mapped_column(String(40))
    """Where its workspace lies; None before its first task, and after that host was lost."""
    lost_with: Mapped[str | None] = mapped_column(String(40))
    """The host that was lost with the workspace, until a task has ended in a new one."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())
    last_activity_at: Mapped[datetime] = mapped_column(UtcDateTime())


class AgentSession(Base):
    """The agent's own memory of a conversation, where hosts share the database."""

    __tablename__ = "agent_sessions"

    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id"), primary_key=True)
    session: Mapped[str] = mapped_column(String(64))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    """As the agent wrote it, compressed."""


class Task(Base):
    """One message of a conversation. `position` is the order of arrival."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index("ix_tasks_state", "state", "position"),
        Index("ix_tasks_conversation", "conversation", "position"),
    )

    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    repo: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    request: Mapped[str] = mapped_column(Text)
    """The `TaskRequest` as JSON."""
    reason: Mapped[str | None] = mapped_column(Text)
    merged_into: Mapped[str | None] = mapped_column(String(64))
    """The earlier task of the conversation that works on this message, too; the state is `merged` then."""
    stopped: Mapped[int] = mapped_column(Integer, default=0)
    """Of a message that asked to stop its conversation: how many tasks were."""
    sandbox: Mapped[str | None] = mapped_column(String(64))
    """Of the try that is under way, or was the last one."""
    leased_by: Mapped[str | None] = mapped_column(String(40))
    """The host that works on it."""
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime())
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime())
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime())


class Host(Base):
    """An orchestrator that works with this database."""

    __tablename__ = "hosts"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime())


class OutgoingReply(Base):
    """A reply on its way: written with the task's result, published afterwards, then marked."""

    __tablename__ = "replies"

    task: Mapped[str] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    reply: Mapped[str] = mapped_column(Text)
    """The `Reply` as JSON."""
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime())

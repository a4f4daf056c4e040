"""The agent's memory of a conversation, for the host that goes on after another one was lost."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "agent_sessions",
        sa.Column("conversation", sa.String(64), sa.ForeignKey("conversations.id"), primary_key=True),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )

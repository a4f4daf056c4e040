"""Leases, the sandbox of a task, the host of a conversation."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("host", sa.String(40)))
    op.add_column("tasks", sa.Column("sandbox", sa.String(64)))
    op.add_column("tasks", sa.Column("leased_by", sa.String(40)))
    op.add_column("tasks", sa.Column("leased_until", sa.DateTime(timezone=True)))

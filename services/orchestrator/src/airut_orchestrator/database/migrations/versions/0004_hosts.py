"""Hosts that share the database, conversations whose host was lost, and what a wish to stop has stopped."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("conversations", sa.Column("lost_with", sa.String(40)))
    op.add_column("tasks", sa.Column("stopped", sa.Integer, nullable=False, server_default="0"))

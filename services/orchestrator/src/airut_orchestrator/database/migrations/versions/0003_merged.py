"""Messages that are handed to the agent together with an earlier one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("merged_into", sa.String(64)))

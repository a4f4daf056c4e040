"""alembic's entry: always over a connection that the service hands in."""

from alembic import context

from airut_orchestrator.database.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()

"""Run by Alembic: applies migrations over the connection that `migrate` opened."""

from alembic import context

from aiauto.server.database.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

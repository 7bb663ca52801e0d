"""Migrations lead to the tables that the code works with."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from aiauto.server.database.migrations import migrate
from aiauto.server.database.models import Base


def test_a_new_database_has_all_tables(database_url: str) -> None:
    engine = create_engine(database_url)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() is not None
    engine.dispose()


def test_migrating_again_changes_nothing(database_url: str) -> None:
    engine = create_engine(database_url)
    migrate(engine)
    before = set(inspect(engine).get_table_names())
    migrate(engine)
    assert set(inspect(engine).get_table_names()) == before
    assert {"journal_chunk", "lease", "study", "trial_batch", "worker"} <= before
    engine.dispose()

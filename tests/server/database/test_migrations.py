"""Migrations lead to the tables that the code works with."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect, make_url, select
from sqlalchemy.orm import Session

from aiauto.server.database.engine import _engine
from aiauto.server.database.migrations import migrate
from aiauto.server.database.models import (
    Base,
    BatchObjective,
    Lease,
    Token,
    TrialBatch,
    User,
    Workspace,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table


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


@pytest.mark.parametrize("revision", ["0001", "0006"])
def test_who_ran_an_older_server_is_its_admin(database_url: str, revision: str) -> None:
    # With foreign keys, as the server has it: to copy the table would take along what hangs on it.
    engine = _engine(make_url(database_url))
    migrate(engine, revision)
    users, workspaces = _tables(engine, "user_account", "workspace")
    made = datetime(2026, 11, 1, tzinfo=timezone.utc)
    with engine.begin() as connection:
        for id_, name in ((1, "local"), (2, "alice")):
            connection.execute(users.insert(), {"id": id_, "name": name, "created_at": made})
        size = dict.fromkeys(
            ("storage_size", "artifact_store_size", "shared_cache_dir", "shared_cache_size"), "1Gi"
        )
        workspace = {"id": 1, "user_id": 2, "name": "of-alice", "journal_length": 0, **size}
        connection.execute(workspaces.insert(), {**workspace, "created_at": made})
    migrate(engine)
    with Session(engine) as session:
        local, alice = session.scalars(select(User).order_by(User.id))
        assert (local.is_admin, local.disabled) == (True, False)
        assert (alice.is_admin, alice.disabled) == (False, False)
        assert session.get_one(Workspace, 1).user_id == 2
    engine.dispose()


def _tables(engine: Engine, *names: str) -> list[Table]:
    tables = MetaData()
    tables.reflect(engine)
    return [tables.tables[name] for name in names]


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_what_an_older_database_holds_is_kept(database_url: str, revision: str) -> None:
    engine = create_engine(database_url)
    migrate(engine, revision)
    tables = MetaData()
    tables.reflect(engine)
    issued = datetime(2026, 11, 1, tzinfo=timezone.utc)
    with engine.begin() as connection:
        connection.execute(
            tables.tables["user_account"].insert(), {"id": 1, "name": "alice", "created_at": issued}
        )
        for id_, end in ((1, None), (2, issued + timedelta(days=7))):
            token = {"id": id_, "hash": str(id_), "user_id": 1, "created_at": issued}
            connection.execute(tables.tables["token"].insert(), {**token, "expires_at": end})
    migrate(engine)
    with Session(engine) as session:
        for_ever, for_a_week = session.scalars(select(Token).order_by(Token.id))
        assert (for_ever.expires_at, for_ever.lifetime_seconds) == (None, None)
        assert for_a_week.expires_at == issued + timedelta(days=7)
        assert for_a_week.lifetime_seconds == 7 * 24 * 60 * 60
        assert (for_a_week.created_at, for_a_week.name) == (issued, "")
        assert session.get_one(User, 1).name == "alice"
    engine.dispose()


def test_what_batches_run_is_kept(database_url: str) -> None:
    # With foreign keys, as the server has it: what hangs on a batch must not go with its column.
    engine = _engine(make_url(database_url))
    migrate(engine, "0011")
    names = ("user_account", "workspace", "study", "trial_batch", "worker", "lease")
    users, workspaces, studies, batches, workers, leases = _tables(engine, *names)
    made = datetime(2026, 11, 1, tzinfo=timezone.utc)
    texts = dict.fromkeys(("storage_size", "artifact_store_size", "shared_cache_size"), "1Gi")
    counts = dict.fromkeys(("count_active", "count_succeeded", "count_pruned", "count_failed"), 1)
    with engine.begin() as connection:
        for table, row in (
            (users, {"name": "alice"}),
            (workspaces, {"user_id": 1, "name": "w", "shared_cache_dir": "/mnt", **texts}),
            (studies, {"workspace_id": 1, "name": "s", "optuna_study_id": 0, "worker_count": 1}),
            (batches, {"study_id": 1, "name": "b", "objective": b"run me", **counts}),
            (workers, {"batch_id": 1, "name": "b-0", "ordinal": 0, "phase": "Running"}),
            (leases, {"batch_id": 1, "worker_id": 1, "fence": 3, "state": "LEASED"}),
        ):
            values: dict[str, object] = {"id": 1, **row}
            for column in table.columns:
                if not column.nullable and column.server_default is None:
                    kind = column.type.python_type
                    values.setdefault(column.name, made if kind is datetime else kind())
            connection.execute(table.insert(), values)
    migrate(engine)
    with Session(engine) as session:
        assert session.get_one(BatchObjective, 1).payload == b"run me"
        batch = session.get_one(TrialBatch, 1)
        assert (batch.name, batch.count_succeeded, batch.count_active) == ("b", 1, 1)
        assert session.get_one(Lease, 1).fence == 3
        session.delete(batch)
        session.commit()
        assert session.get(BatchObjective, 1) is None
        assert session.get(Lease, 1) is None
    engine.dispose()

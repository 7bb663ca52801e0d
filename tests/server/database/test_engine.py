"""Units of work: alone, all or nothing, and together on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import IntegrityError

from aiauto.errors import UnavailableError
from aiauto.server.database import Database, DatabaseError, engine, rows, when_undone
from aiauto.server.database.models import Study, TrialBatch, User
from tests.server.conftest import new_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.orm import Session

    from tests.postgresql import PostgreSQL


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


def add(name: str) -> Callable[[Session], int]:
    def unit(session: Session) -> int:
        user = User(name=name)
        session.add(user)
        session.flush()
        return user.id

    return unit


def broken(session: Session) -> None:
    session.add(User(name="half done"))
    session.flush()
    message = "no"
    raise ValueError(message)


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(User)) or 0


async def test_a_unit_that_raises_undoes_only_itself(database: Database) -> None:
    results = await asyncio.gather(
        database.write(add("a")),
        database.write(broken),
        database.write(add("b")),
        database.write(add("a")),  # the name is taken
        return_exceptions=True,
    )
    assert [isinstance(one, int) for one in results] == [True, False, True, False]
    assert isinstance(results[1], ValueError)
    assert await database.read(count) == 2


async def test_a_unit_that_has_a_transaction_to_itself_is_undone_as_well(
    database: Database,
) -> None:
    with pytest.raises(ValueError, match="no"):
        await database.write(broken)
    await database.write(add("a"))
    with pytest.raises(IntegrityError):
        # Found out only as it is written, after the unit.
        await database.write(lambda session: session.add(User(name="a")))
    await database.write(add("b"))
    assert await database.read(count) == 2


async def test_whatever_a_unit_raises_its_caller_hears_of_it(database: Database) -> None:
    def exhausted(_session: Session) -> None:
        next(iter(()))

    results = await asyncio.gather(
        database.write(add("a")),
        database.write(exhausted),
        database.write(add("b")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, RuntimeError, int]
    assert isinstance(results[1], RuntimeError)
    assert isinstance(results[1].__cause__, StopIteration)


async def test_a_caller_that_gives_up_stops_nothing(database: Database) -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow(session: Session) -> int:
        began.set()
        assert may_end.wait(60)
        return add("a")(session)

    writing = asyncio.create_task(database.write(slow))
    assert await asyncio.to_thread(began.wait, 60)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    may_end.set()
    await database.write(add("b"))
    assert await database.read(count) == 2


async def test_what_is_acknowledged_is_there(database: Database) -> None:
    for number in range(20):
        await database.write(add(str(number)))
        assert await database.read(count) == number + 1


async def test_what_was_done_in_memory_is_undone_with_its_unit(database: Database) -> None:
    undone: list[str] = []
    there: list[str] = []

    def unit(name: str, *, raises: bool) -> Callable[[Session], None]:
        def undo(what: str) -> None:
            undone.append(what)
            there.remove(what)

        def unit(session: Session) -> None:
            for what in (f"{name}1", f"{name}2"):
                there.append(what)
                when_undone(session, partial(undo, what))
            if raises:
                raise ValueError(name)

        return unit

    # In one commit: those that do not raise may have to begin anew.
    units = [unit(name, raises=name in "be") for name in "abec"]
    await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert there == ["a1", "a2", "c1", "c2"]
    assert [what for what in undone if what.startswith("b")] == ["b2", "b1"]
    assert undone[-2:] == ["e2", "e1"]
    with pytest.raises(ValueError, match="d"):
        await database.write(unit("d", raises=True))
    assert undone[-2:] == ["d2", "d1"]
    assert there == ["a1", "a2", "c1", "c2"]


async def test_many_units_that_raise_undo_only_themselves(database: Database) -> None:
    def taken(session: Session) -> None:
        # Found out by the database, which undoes the whole transaction.
        session.add(User(name="0"))

    units = [unit for number in range(20) for unit in (add(str(number)), broken, taken)]
    results = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [int, ValueError, IntegrityError] * 20
    assert await database.read(count) == 20


async def test_what_a_unit_wrote_past_the_orm_is_undone_with_it(database: Database) -> None:
    def make(session: Session) -> int:
        study = Study(workspace_id=new_workspace(session).id, name="study", optuna_study_id=0)
        study.directions = study.sampler_json = study.pruner_json = ""
        session.add(study)
        session.flush()
        batch = TrialBatch(name="batch", study_id=study.id, spec=b"")
        batch.n_trials = batch.parallelism = 1
        session.add(batch)
        session.flush()
        return batch.id

    batch_id = await database.write(make)
    held: list[TrialBatch] = []

    def broken(session: Session) -> None:
        held.append(session.get_one(TrialBatch, batch_id))
        rows.change_at_end(session, held[-1], {TrialBatch.count_active: 1})
        message = "no"
        raise ValueError(message)

    def active(session: Session) -> int:
        return session.get_one(TrialBatch, batch_id).count_active

    # In one commit. Behind the first that fails, each has a part of its own.
    units = [add("a"), broken, broken, active]
    results = await asyncio.gather(*map(database.write, units), return_exceptions=True)
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], ValueError)
    assert results[3] == await database.read(active) == 0


async def test_the_writer_gives_its_connection_back_when_it_rests(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "REST_SECONDS", 0.1)
    loop = asyncio.get_running_loop()

    def next_(name: str) -> asyncio.Event:
        seen = asyncio.Event()

        def note(*_: object) -> None:
            loop.call_soon_threadsafe(seen.set)

        event.listen(database._engine, name, note)
        return seen

    returned = next_("checkin")
    await database.write(add("a"))
    await asyncio.wait_for(returned.wait(), 60)
    taken = next_("checkout")
    await database.write(add("b"))
    await asyncio.wait_for(taken.wait(), 60)
    assert await database.read(count) == 2


async def test_a_connection_that_broke_is_not_used_again(postgresql: PostgreSQL) -> None:
    database = Database(postgresql.create_database())
    await database.open()
    await database.write(add("a"))
    ends = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await database.read(lambda session: session.execute(ends).all())
    # It can't be known before it is used.
    with pytest.raises(UnavailableError):
        await database.write(add("b"))
    await database.write(add("b"))
    assert await database.read(count) == 2
    await database.close()


async def test_many_callers_share_commits(database: Database) -> None:
    commits: list[object] = []
    event.listen(database._engine, "commit", commits.append)
    await asyncio.gather(*(database.write(add(str(number))) for number in range(300)))
    assert await database.read(count) == 300
    assert 0 < len(commits) < 100


async def test_a_commit_that_fails_fails_all_its_units(database: Database) -> None:
    undone: list[int] = []

    def poison(session: Session) -> None:
        when_undone(session, lambda: undone.append(1))
        when_undone(session, lambda: undone.append(2))
        # A key that is checked at the commit.
        if session.get_bind().dialect.name == "sqlite":
            session.execute(text("PRAGMA defer_foreign_keys=ON"))
        else:
            reference = (
                "FOREIGN KEY (user_id) REFERENCES user_account DEFERRABLE INITIALLY DEFERRED"
            )
            session.execute(text(f"ALTER TABLE token ADD CONSTRAINT late {reference}"))
            session.execute(text("ALTER TABLE token DROP CONSTRAINT fk_token_user_id"))
        session.execute(
            text("INSERT INTO token (hash, user_id, created_at) VALUES ('x', 999, '2026-01-01')")
        )

    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        await database.write(poison)
    assert undone == [2, 1]
    await database.write(add("after"))
    assert await database.read(count) == 1


async def test_it_comes_back_as_it_was(database_url: str) -> None:
    for expected in (0, 1):
        database = Database(database_url)
        await database.open()
        assert await database.read(count) == expected
        await database.write(add(f"user {expected}"))
        await database.close()


def test_a_driver_that_is_not_there() -> None:
    with pytest.raises(DatabaseError, match="pg8000, which is not installed") as caught:
        Database("postgresql+pg8000://me:s3cret@host/x")
    assert "postgresql+psycopg://" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_a_sqlite_that_is_too_old(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(DatabaseError, match=r"SQLite 3\.34\.1, and aiauto needs 3\.35"):
        Database(database_url)


async def test_a_closed_database_says_so(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    await database.close()
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(count)


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_sqlite_is_set_up_to_lose_nothing(database: Database) -> None:
    def pragmas(session: Session) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [session.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]

    assert await database.read(pragmas) == ["wal", 2, 1]

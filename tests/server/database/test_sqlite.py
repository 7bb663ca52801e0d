"""What tells the writer that others have written to the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from aiauto.server.database import engine, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@pytest.fixture
def connections(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Connection, Connection]]:
    """Two connections to one file, with a table that has a row."""
    # Nobody has to wait for a lock here.
    monkeypatch.setattr(engine, "SQLITE_LOCK_TIMEOUT_SECONDS", 0)
    path = tmp_path_factory.mktemp("sqlite") / "db.sqlite3"
    made = engine._engine(make_url(f"sqlite:///{path}"))
    with made.connect() as one, made.connect() as other:
        with one.begin():
            one.exec_driver_sql("CREATE TABLE counted (number INTEGER)")
            one.exec_driver_sql("INSERT INTO counted VALUES (0)")
        yield one, other
    made.dispose()


def count(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE counted SET number = number + 1")


def test_only_what_others_write_makes_it_another_number(
    connections: tuple[Connection, Connection],
) -> None:
    one, other = connections
    seen: list[int | None] = []
    for writer in (one, one, other, one):
        with one.begin():
            seen.append(sqlite.data_version(one))
        with writer.begin():
            count(writer)
    with one.begin():
        seen.append(sqlite.data_version(one))
    first, second, third, fourth, fifth = seen
    assert first == second == third != fourth == fifth
    assert first is not None


def test_what_others_write_after_it_was_asked_can_not_be_overwritten(
    connections: tuple[Connection, Connection],
) -> None:
    one, other = connections
    with one.begin() as whole:
        sqlite.data_version(one)
        with other.begin():
            count(other)
        with pytest.raises(OperationalError, match="locked"):
            count(one)
        whole.rollback()
    with one.begin():
        assert one.exec_driver_sql("SELECT number FROM counted").scalar() == 1

"""Rows that are written at once, each by a statement of its own.

The ORM would write the same as it flushes, but to find out what there is to be written takes it
several times as long as the database takes to do it. So what every trial writes comes through here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sqlalchemy import Insert, Table, Update, bindparam, insert, inspect, update
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from aiauto.server.database.unit import connection, familiar, of_unit, when_ending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import InstrumentedAttribute, Session

    from aiauto.server.database.models import Lease, TrialBatch, Worker

RowT = TypeVar("RowT", "Lease", "TrialBatch", "Worker")

_ID: Final = "of_row"


def change(
    session: Session, row: Lease, values: Mapping[InstrumentedAttribute[Any], object]
) -> None:
    """Change a row that is in the database.

    Args:
        session: The unit's session.
        row: The row, which is changed as well.
        values: New values by the attributes of its class.
    """
    named = {attribute.key: value for attribute, value in values.items()}
    _write(session, row, named)
    _take(session, row, named)


def change_at_end(
    session: Session, row: TrialBatch, values: Mapping[InstrumentedAttribute[Any], object]
) -> None:
    """`change` a row that a unit may change several times: it is written once, as the unit ends.

    Until then the database is not to be asked for these values.
    """
    changing = of_unit(session, _Changing)
    if row.id not in changing:
        names = changing[row.id] = _Changing()
        # As they are then: the ORM may have changed them as well.
        when_ending(
            session, lambda: _write(session, row, {name: getattr(row, name) for name in names})
        )
    named = {attribute.key: value for attribute, value in values.items()}
    changing[row.id].update(named)
    _take(session, row, named)


class _Changing(set[str]):
    """The names of what is to be written of a row."""


def _write(session: Session, row: Lease | TrialBatch, named: Mapping[str, object]) -> None:
    connection(session).execute(_update(type(row)), {_ID: row.id, **named})


def _take(session: Session, row: Lease | TrialBatch, named: Mapping[str, object]) -> None:
    if familiar(session).get(type(row), row.id) is not row:
        familiar(session).forget(type(row), row.id)
    for name, value in named.items():
        set_committed_value(row, name, value)


def add(session: Session, row: Lease) -> None:
    """Add a row, which is from then on as if it had been read.

    Args:
        session: The unit's session.
        row: The row, with a value for each of its columns but its id, which it gets.
    """
    named = {name: value for name, value in vars(row).items() if name in _columns(type(row))}
    added = connection(session).execute(_insert(type(row)), named)
    (row.id,) = cast("tuple[int]", added.inserted_primary_key)
    make_transient_to_detached(row)
    learn(session, row)


def learn(session: Session, *rows: Lease | TrialBatch | Worker) -> None:
    """Say that rows are as they are in the database: the next units may find them by `known`."""
    for row in rows:
        familiar(session).put(type(row), row.id, row)


def known(session: Session, kind: type[RowT], id_: int) -> RowT | None:
    """A row as the units before have left it; None where it has to be read."""
    row = familiar(session).get(kind, id_)
    if row is None or (key := instance_state(row).key) is None:
        return None
    there = session.identity_map.get(key)
    if there is None:
        session.add(row)
    # Another unit of the same transaction may have read it.
    return row if there is None or there is row else None


@cache
def _update(kind: type[Lease | TrialBatch]) -> Update:
    table = cast("Table", kind.__table__)
    return update(table).where(table.c.id == bindparam(_ID))


@cache
def _insert(kind: type[Lease]) -> Insert:
    return insert(cast("Table", kind.__table__))


@cache
def _columns(kind: type[Lease]) -> frozenset[str]:
    return frozenset(inspect(kind).columns.keys())

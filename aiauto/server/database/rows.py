"""Rows that are written at once, each by a statement of its own.

The ORM would write the same as it flushes, but to find out what there is to be written takes it
several times as long as the database takes to do it. So what every trial writes comes through here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import Insert, Table, Update, bindparam, insert, update
from sqlalchemy.orm.attributes import set_committed_value

from aiauto.server.database.unit import connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import InstrumentedAttribute, Session

    from aiauto.server.database.models import Lease, TrialBatch

_ID: Final = "of_row"


def change(
    session: Session,
    row: Lease | TrialBatch,
    values: Mapping[InstrumentedAttribute[Any], object],
) -> None:
    """Change a row that is in the database.

    Args:
        session: The unit's session.
        row: The row, which is changed as well.
        values: New values by the attributes of its class.
    """
    named = {attribute.key: value for attribute, value in values.items()}
    connection(session).execute(_update(type(row)), {_ID: row.id, **named})
    for name, value in named.items():
        set_committed_value(row, name, value)


def add(
    session: Session, kind: type[Lease], values: Mapping[InstrumentedAttribute[Any], object]
) -> int:
    """Add a row.

    Args:
        session: The unit's session.
        kind: The class of its table.
        values: Its values by the attributes of that class. What is left out has its default.

    Returns:
        Its id.
    """
    named = {attribute.key: value for attribute, value in values.items()}
    added = connection(session).execute(_insert(kind), named)
    (new_id,) = cast("tuple[int]", added.inserted_primary_key)
    return new_id


@cache
def _update(kind: type[Lease | TrialBatch]) -> Update:
    table = cast("Table", kind.__table__)
    return update(table).where(table.c.id == bindparam(_ID))


@cache
def _insert(kind: type[Lease]) -> Insert:
    return insert(cast("Table", kind.__table__))

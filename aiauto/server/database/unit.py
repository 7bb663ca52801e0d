"""What a unit of `Database.write` has found out, and need not ask the database again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    # Of which unit it is, and what is kept by its class and its id.
    _Kept = tuple[object, dict[type[Any], dict[int, Any]]]

ValueT = TypeVar("ValueT")

_KEY = "of_unit"


def of_unit(session: Session, kind: type[ValueT]) -> dict[int, ValueT]:
    """Things of one kind by their id, for as long as the unit runs.

    Only what is locked may be kept here, or never changes: anything else may while the unit runs.

    Args:
        session: The unit's session.
        kind: Their class.

    Returns:
        What the unit has kept so far, to be read and added to.
    """
    unit = session.get_nested_transaction() or session.get_transaction()
    of_which, kept = cast("_Kept", session.info.get(_KEY, (None, {})))
    if unit is None or of_which is not unit:
        kept = {}
        session.info[_KEY] = unit, kept
    return kept.setdefault(kind, {})

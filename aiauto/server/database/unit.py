"""What a unit of `Database.write` has found out, and need not ask the database again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

ValueT = TypeVar("ValueT")

_KEY: Final = "of_unit"


def begin_unit(session: Session) -> None:
    """Say that a unit begins: what the one before it knew may have changed."""
    session.info.pop(_KEY, None)


def of_unit(session: Session, kind: type[ValueT]) -> dict[int, ValueT]:
    """Things of one kind by their id, for as long as the unit runs.

    Only what is locked may be kept here, or never changes: anything else may while the unit runs.

    Args:
        session: The unit's session.
        kind: Their class.

    Returns:
        What the unit has kept so far, to be read and added to.
    """
    kept = cast("dict[type[Any], dict[int, Any]]", session.info.setdefault(_KEY, {}))
    return kept.setdefault(kind, {})

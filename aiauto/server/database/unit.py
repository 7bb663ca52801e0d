"""What a unit of `Database.write` has found out and need not ask again, and what it does last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from aiauto.server.database.familiar import Familiar

ValueT = TypeVar("ValueT")

_KEPT: Final = "of_unit"
_FAMILIAR: Final = "familiar to the unit"
_CONNECTION: Final = "connection of the unit"
_LAST: Final = "steps at the end of the unit"


def begin_unit(session: Session, used: Connection, known: Familiar) -> None:
    """Say that a unit begins: what the one before it kept may have changed.

    Args:
        session: The unit's session.
        used: The connection that it is on.
        known: What has not changed.
    """
    session.info.update({_KEPT: {}, _LAST: [], _CONNECTION: used, _FAMILIAR: known})


def end_unit(session: Session) -> None:
    """Do what the unit has left to its end."""
    for step in session.info[_LAST]:
        step()


def when_ending(session: Session, step: Callable[[], None]) -> None:
    """Call a function as the last thing that the unit does, unless it raises before.

    Args:
        session: The unit's session.
        step: Does what is better done once than again and again.
    """
    session.info[_LAST].append(step)


def of_unit(session: Session, kind: type[ValueT]) -> dict[int, ValueT]:
    """Things of one kind by their id, for as long as the unit runs.

    Only what is locked may be kept here, or never changes: anything else may while the unit runs.

    Args:
        session: The unit's session.
        kind: Their class.

    Returns:
        What the unit has kept so far, to be read and added to.
    """
    kept = cast("dict[type[Any], dict[int, Any]]", session.info[_KEPT])
    return kept.setdefault(kind, {})


def familiar(session: Session) -> Familiar:
    """What is familiar to a unit of `Database.write`."""
    return cast("Familiar", session.info[_FAMILIAR])


def connection(session: Session) -> Connection:
    """The connection of any session, for statements that need nothing of the ORM.

    The session itself thinks about it for half as long as a statement takes.
    """
    found: Connection | None = session.info.get(_CONNECTION)
    return session.connection() if found is None else found

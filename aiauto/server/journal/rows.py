"""The rows that a journal is kept in.

Every append of every worker comes through here, so the statements are made once and run without the
ORM: to see what is asked for takes SQLAlchemy as long as it takes SQLite to do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import Table, bindparam, delete, insert, select, update

from aiauto.errors import NotFoundError
from aiauto.server.database.models import JournalChunk, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

_WORKSPACE = cast("Table", Workspace.__table__)
_CHUNK = cast("Table", JournalChunk.__table__)
_THIS_WORKSPACE = _WORKSPACE.c.id == bindparam("of_workspace")
_OF_WORKSPACE = _CHUNK.c.workspace_id == bindparam("of_workspace")

_LENGTH: Final = select(_WORKSPACE.c.journal_length).where(_THIS_WORKSPACE)
_LENGTH_LOCKED: Final = _LENGTH.with_for_update()
_SET_LENGTH: Final = update(_WORKSPACE).where(_THIS_WORKSPACE)
_ADD: Final = insert(_CHUNK)
_FIND: Final = select(_CHUNK.c.start).where(_OF_WORKSPACE, _CHUNK.c.request_id == bindparam("id"))
_READ: Final = (
    select(_CHUNK.c.start, _CHUNK.c.entries)
    .where(_OF_WORKSPACE, _CHUNK.c.stop > bindparam("position"))
    .order_by(_CHUNK.c.start)
    .execution_options(yield_per=256)
)


def length(session: Session, workspace_id: int, *, lock: bool = False) -> int:
    """How many entries a journal has.

    Args:
        session: Any session.
        workspace_id: The workspace.
        lock: Whether nobody else may append until the transaction ends, another server on the same
            database included.

    Raises:
        NotFoundError: The workspace is gone.
    """
    statement = _LENGTH_LOCKED if lock else _LENGTH
    found = session.connection().execute(statement, {"of_workspace": workspace_id}).scalar()
    if found is None:
        raise NotFoundError("The workspace is gone: it was deleted.")
    return cast("int", found)


def add(
    session: Session, workspace_id: int, start: int, texts: Sequence[str], request_id: str | None
) -> None:
    """Append entries to a journal that has `start` of them."""
    stop = start + len(texts)
    connection = session.connection()
    connection.execute(
        _ADD,
        {
            "workspace_id": workspace_id,
            "start": start,
            "stop": stop,
            "request_id": request_id,
            "entries": "\n".join(texts),
        },
    )
    connection.execute(_SET_LENGTH, {"of_workspace": workspace_id, "journal_length": stop})


def is_known(session: Session, workspace_id: int, request_id: str) -> bool:
    """Whether the entries of a call are in a journal."""
    values = {"of_workspace": workspace_id, "id": request_id}
    return session.connection().execute(_FIND, values).scalar() is not None


def read(session: Session, workspace_id: int, position: int) -> Iterable[Sequence[str]]:
    """The entries from a position on, as many at a time as came in one call."""
    values = {"of_workspace": workspace_id, "position": position}
    for start, entries in session.connection().execute(_READ, values):
        yield entries.split("\n")[max(0, position - start) :]


def remove(session: Session, workspace_id: int) -> None:
    """Remove all entries of a journal."""
    session.connection().execute(
        delete(_CHUNK).where(_CHUNK.c.workspace_id == workspace_id),
    )

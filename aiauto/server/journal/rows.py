"""The rows that a journal is kept in.

Every append of every worker comes through here, so the statements are made once and run without the
ORM: to see what is asked for takes SQLAlchemy as long as it takes SQLite to do it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import Table, bindparam, delete, insert, select, update

from aiauto.errors import NotFoundError
from aiauto.server.database.models import JournalChunk, Workspace
from aiauto.server.database.unit import connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

# A long journal takes minutes to read: whoever does it by parts of this size gives back its thread,
# its connection and what the database keeps for it so often that it is in nobody's way.
CHARACTERS_OF_PART = 4 * 1024 * 1024

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


@dataclass
class Chunk:
    """Entries that come next in a journal.

    Attributes:
        start: The number of the first of them.
        texts: They.
        request_id: Id of the call that sent them; None where the server itself made all of them.
    """

    start: int
    texts: list[str] = field(default_factory=list[str])
    request_id: str | None = None


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
    found = connection(session).execute(statement, {"of_workspace": workspace_id}).scalar()
    if found is None:
        raise NotFoundError("The workspace is gone: it was deleted.")
    return cast("int", found)


def add(session: Session, workspace_id: int, chunk: Chunk) -> None:
    """Append entries to a journal that has `chunk.start` of them."""
    stop = chunk.start + len(chunk.texts)
    values = {
        "workspace_id": workspace_id,
        "start": chunk.start,
        "stop": stop,
        "request_id": chunk.request_id,
        "entries": "\n".join(chunk.texts),
    }
    connection(session).execute(_ADD, values)
    connection(session).execute(_SET_LENGTH, {"of_workspace": workspace_id, "journal_length": stop})


def is_known(session: Session, workspace_id: int, request_id: str) -> bool:
    """Whether the entries of a call are in a journal."""
    values = {"of_workspace": workspace_id, "id": request_id}
    return connection(session).execute(_FIND, values).scalar() is not None


def read(session: Session, workspace_id: int, position: int) -> Iterable[Sequence[str]]:
    """The entries from a position on, as many at a time as are in a row."""
    values = {"of_workspace": workspace_id, "position": position}
    # Whoever has read enough leaves the rest: the database must not keep it for them.
    with connection(session).execute(_READ, values) as found:
        for start, entries in found:
            yield entries.split("\n")[max(0, position - start) :]


def part(session: Session, workspace_id: int, position: int) -> tuple[list[str], bool]:
    """A part of the entries from a position on, and whether it has all of them."""
    texts: list[str] = []
    characters = 0
    for some in read(session, workspace_id, position):
        if characters > CHARACTERS_OF_PART:
            return texts, False
        texts += some
        characters += sum(map(len, some))
    return texts, True


def remove(session: Session, workspace_id: int) -> None:
    """Remove all entries of a journal."""
    connection(session).execute(
        delete(_CHUNK).where(_CHUNK.c.workspace_id == workspace_id),
    )

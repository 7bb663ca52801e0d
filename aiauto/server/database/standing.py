"""Whose a database is and of which age, found out without a server and without changing it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from aiauto.server.database.migrations import revisions
from aiauto.server.database.models import Base
from aiauto.server.database.opening import opening

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine


class Standing(Enum):
    """What a database is to this version of the server; each as the end of a sentence."""

    ABSENT = "is not there yet, and made when the server starts"
    EMPTY = "is empty, and gets its tables when the server starts"
    FOREIGN = "holds tables of another program"
    OLDER = "is of an older version, and brought up to date when the server starts"
    CURRENT = "is aiauto's, and up to date"
    NEWER = "is of a newer version, which this one does not know"


def look(url: URL, patience: float) -> Standing:
    """Look at a database.

    Args:
        url: Its address.
        patience: Seconds that it has to answer.

    Returns:
        What it is.

    Raises:
        DatabaseError: It can't be reached, or is none.
    """
    if url.get_backend_name() == "sqlite" and not _has_content(url):
        return Standing.ABSENT
    with opening(url):
        engine = _engine(url, patience)
        try:
            with engine.connect() as connection:
                return _standing(connection)
        finally:
            engine.dispose()


def _has_content(url: URL) -> bool:
    # The server makes an empty file first, so that nobody else can read what comes into it.
    file = Path(url.database or "")
    return file.exists() and file.stat().st_size > 0


def _engine(url: URL, patience: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        read_only = f"{Path(url.database or '').absolute().as_uri()}?mode=ro"
        read_only_url = url.set(database=read_only, query={"uri": "true"})
        return create_engine(read_only_url, connect_args={"timeout": patience})
    return create_engine(url, connect_args={"connect_timeout": round(patience)})


def _standing(connection: Connection) -> Standing:
    at = MigrationContext.configure(connection).get_current_revision()
    known = revisions()
    if at == known[0]:
        return Standing.CURRENT
    if at in known:
        return Standing.OLDER
    tables = set(inspect(connection).get_table_names())
    # Other programs number their tables' forms in the same way.
    if at is not None and Base.metadata.tables.keys() & tables:
        return Standing.NEWER
    return Standing.FOREIGN if tables else Standing.EMPTY

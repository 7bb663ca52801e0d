"""SQLite as SQLAlchemy has it, but for how transactions begin, and whether others have written."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from aiauto.server.database.opening import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Connection, PoolProxiedConnection

DRIVER: Final = "sqlite+aiauto"
"""What names it in a URL."""
MIN_VERSION: Final = (3, 35)
"""The first that can drop a column."""


class AIAutoDialect(SQLiteDialect_pysqlite):
    """Begins transactions where SQLAlchemy does.

    Python's driver opens them at moments of its own choosing. SQLAlchemy's documents tell it not
    to, and have a listener begin them; but an engine that has a listener asks before and after
    every statement whether there are more, which takes a sixth of the time that a trial costs here.
    """

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: PoolProxiedConnection) -> None:
        """Begin."""
        cursor = dbapi_connection.cursor()
        cursor.execute("BEGIN")
        cursor.close()


def check_version() -> None:
    """Make sure that Python comes with a SQLite that migrations can work with.

    Raises:
        DatabaseError: It is too old.
    """
    if sqlite3.sqlite_version_info < MIN_VERSION:
        message = (
            f"This Python comes with SQLite {sqlite3.sqlite_version}, and aiauto needs "
            f"{'.'.join(map(str, MIN_VERSION))} or newer: run it with another Python, such as one "
            "of `uv python install`, or set AIAUTO_DATABASE_URL to a PostgreSQL."
        )
        raise DatabaseError(message)


def data_version(connection: Connection) -> int | None:
    """A number that is another one once anybody else has written to the database.

    Args:
        connection: The connection that asks. What it writes itself changes nothing. In a
            transaction, it sees nothing any more of what others write from now on.

    Returns:
        The number; None on another database, or where it can't be found out.
    """
    if not isinstance(connection.dialect, AIAutoDialect):
        return None
    cursor = connection.connection.cursor()
    try:
        cursor.execute("PRAGMA data_version")
        return cast("tuple[int]", cursor.fetchone())[0]
    except sqlite3.Error:  # whatever it is, the next statement meets it as well
        return None
    finally:
        cursor.close()


registry.register("sqlite.aiauto", __name__, AIAutoDialect.__name__)

"""The server's one database: tables, migrations, and how units of work reach it."""

from aiauto.server.database.engine import Database
from aiauto.server.database.opening import DatabaseError
from aiauto.server.database.postponed import PostponedError
from aiauto.server.database.undoing import when_undone

__all__ = ["Database", "DatabaseError", "PostponedError", "when_undone"]

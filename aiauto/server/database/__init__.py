"""The server's one database: tables, migrations, and how units of work reach it."""

from aiauto.server.database.engine import Database

__all__ = ["Database"]

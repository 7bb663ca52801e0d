"""Brings a database from any released form to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Any number that no other program takes in the same database: "aiauto" in ASCII.
LOCK: Final = 0x61696175746F


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the migrations that a database has not seen.

    Args:
        engine: The database.
        revision: Up to which one.
    """
    config = _config()
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Servers on one database that start at the same time: one after the other, until the
            # transaction ends. SQLite's folder has one server.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def revisions() -> list[str]:
    """What this version knows, newest first."""
    return [one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config

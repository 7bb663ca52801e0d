"""Brings a database from any released form to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from sqlalchemy import Engine


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the migrations that a database has not seen.

    Args:
        engine: The database.
        revision: Up to which one.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

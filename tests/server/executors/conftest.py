"""Workers as processes: the same whatever the database is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def new_database(tmp_path: Path) -> Callable[[], str]:
    """Makes an empty database, of one kind, and gives its SQLAlchemy URL."""
    return lambda: f"sqlite:///{tmp_path / 'test.sqlite3'}"

"""Troubles of a database that pass: it is out of reach, full, or locked for too long."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from sqlalchemy import exc

from aiauto.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["is_outage", "outages_told"]

logger: logging.Logger = logging.getLogger("aiauto.server")

# SQLite tells a full disk and a misspelt table by the same class of error.
_SQLITE_OUTAGES = (
    "attempt to write a readonly database",
    "database is locked",
    "database or disk is full",
    "database table is locked",
    "disk I/O error",
    "unable to open database file",
)


@contextlib.contextmanager
def outages_told() -> Generator[None]:
    """Make outages what callers understand, so that they wait and come again.

    Raises:
        UnavailableError: There was one. What exactly is for the server's log only.
    """
    try:
        yield
    except exc.SQLAlchemyError as error:
        if not is_outage(error):
            raise
        logger.warning("The database is not available: %s", error)
        raise UnavailableError(
            "The server's database is full, locked or out of reach at the moment; its log tells "
            "more."
        ) from error


def is_outage(error: BaseException) -> bool:
    """Whether an error of the database may pass by itself."""
    # No connection was free for too long; or the one at hand broke in an earlier unit.
    if isinstance(error, (exc.TimeoutError, exc.PendingRollbackError)):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if type(error.orig).__module__.startswith("sqlite3"):
        return str(error.orig).startswith(_SQLITE_OUTAGES)
    return error.connection_invalidated or isinstance(
        error, (exc.OperationalError, exc.InterfaceError)
    )

"""A database that can't be used, told to whoever runs the server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from alembic.util import CommandError
from sqlalchemy import exc, make_url

from aiauto.errors import AIAutoError

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import URL

__all__ = ["KINDS", "DatabaseError", "opening", "url_of"]

# By the backends' names; the value is the driver that ours is tested with.
KINDS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}

_EXAMPLE = "postgresql+psycopg://user:password@host/name"


class DatabaseError(AIAutoError):
    """The database can't be used. The text says why and what to do, and never the password."""


def url_of(text: str) -> URL:
    """The address of a database.

    Args:
        text: As somebody wrote it.

    Returns:
        It in its parts, with a driver.

    Raises:
        ValueError: It is none, or of a database of another kind. The text says which, and may
            follow the name of a variable. It quotes nothing in which a password may be.
    """
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError) as error:
        message = (
            f"is no address of a database: it must be such as {_EXAMPLE}, with %40, %2F and %3A "
            "for an @, a / and a : in the password."
        )
        raise ValueError(message) from error
    if (backend := url.get_backend_name()) not in KINDS:
        message = (
            f"names a database of the kind {backend!r}: it must be sqlite:////path or {_EXAMPLE}."
        )
        raise ValueError(message)
    return url.set(drivername=KINDS[backend]) if url.drivername == backend else url


@contextlib.contextmanager
def opening(url: URL) -> Generator[None]:
    """Tell for people what keeps a database from being opened while the block runs.

    Args:
        url: Which one.

    Raises:
        DatabaseError: It can't be reached, is no database, or one of a newer server.
    """
    place = url.render_as_string(hide_password=True)
    is_file = url.get_backend_name() == "sqlite"
    try:
        yield
    except (ModuleNotFoundError, exc.NoSuchModuleError) as error:
        what = getattr(error, "name", None) or url.drivername
        message = (
            f"The database {place} needs {what}, which is not installed: install "
            "'aiauto-client[postgres]', and let AIAUTO_DATABASE_URL begin with "
            f"{KINDS[url.get_backend_name()]}://."
        )
        raise DatabaseError(message) from error
    except CommandError as error:
        message = (
            f"The database {place} was brought up to date by a newer aiauto, or is none of "
            f"aiauto's ({error}): install the version that was here last, or name another in "
            "AIAUTO_DATABASE_URL."
        )
        raise DatabaseError(message) from error
    except exc.SQLAlchemyError as error:
        advice = (
            "Move the file away to begin anew, bring a backup back (`aiauto restore`), or name "
            "another folder (--data-dir, AIAUTO_DATA_DIR) or database (AIAUTO_DATABASE_URL)."
            if is_file
            else "Check AIAUTO_DATABASE_URL, and that the database runs and lets this machine in."
        )
        message = f"The database {place} can't be used: {_reason(error, url)} {advice}"
        raise DatabaseError(message) from error


def _reason(error: exc.SQLAlchemyError, url: URL) -> str:
    """What the driver says, as a sentence on one line and without the password."""
    told = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    text = " ".join(str(told).split())
    text = text if text.endswith((".", "?")) else f"{text}."
    return text.replace(url.password, "***") if url.password else text

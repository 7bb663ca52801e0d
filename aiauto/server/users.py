"""Making users: what all ways to make one share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from aiauto.errors import AlreadyExistsError, InvalidArgumentError, ResourceExhaustedError
from aiauto.server.accounts import LOCAL_USER
from aiauto.server.database.models import User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NAME = re.compile(r"[a-z](?:[a-z0-9_.-]{0,30}[a-z0-9])?")
MAX_NAME_CHARACTERS = 32
MAX_USERS = 10_000
NAMELESS = "user"


def check_name(name: str) -> None:
    """Refuse a name that no user may have.

    Raises:
        InvalidArgumentError: It is one.
    """
    if NAME.fullmatch(name) is None:
        raise InvalidArgumentError(
            f"name is {name[:50]!r}: use 1 to {MAX_NAME_CHARACTERS} lowercase letters, digits, "
            "'_', '-' and '.', the first a letter, the last a letter or digit."
        )
    if name == LOCAL_USER:
        # Whoever runs the server would be made this user when it starts the next time.
        raise InvalidArgumentError(f"name is {name!r}: that is kept for who runs the server.")


def new_user(session: Session, name: str, *, is_admin: bool = False) -> User:
    """Make a user.

    Args:
        session: A session of `Database.write`.
        name: Their name, which `check_name` lets pass.
        is_admin: Whether they are an admin.

    Raises:
        AlreadyExistsError: Somebody has the name.
        ResourceExhaustedError: There are as many users as there may be.
    """
    if user_named(session, name) is not None:
        raise AlreadyExistsError(f"name: there is a user {name!r} already.")
    if (session.scalar(select(func.count()).select_from(User)) or 0) >= MAX_USERS:
        raise ResourceExhaustedError(
            f"The server has {MAX_USERS} users, and may have no more: delete some."
        )
    user = User(name=name, is_admin=is_admin)
    session.add(user)
    session.flush()
    return user


def user_named(session: Session, name: str) -> User | None:
    """The user of a name, if there is one."""
    return session.scalar(select(User).where(User.name == name))


def free_name(session: Session, wish: str) -> str:
    """A name that nobody has, and somebody may have, like one that somebody would like to have.

    Args:
        session: A session of `Database.write`.
        wish: What they would like: any text, of an e-mail address what stands before the @.
    """
    plain = re.sub(r"[^a-z0-9_.-]+", "-", wish.partition("@")[0].lower())
    plain = re.sub(r"^[^a-z]+", "", plain)[:MAX_NAME_CHARACTERS].rstrip("_.-") or NAMELESS
    name, number = plain, 1
    while name == LOCAL_USER or user_named(session, name) is not None:
        number += 1
        end = f"-{number}"
        name = plain[: MAX_NAME_CHARACTERS - len(end)].rstrip("_.-") + end
    return name

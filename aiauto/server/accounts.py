"""The users of the server, as its pages and its life cycle ask about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.errors import UnauthenticatedError
from aiauto.server.auth import new_token
from aiauto.server.database.models import User, Workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.auth import Auth
    from aiauto.server.database import Database

LOCAL_USER = "local"


class Accounts:
    """Users, by what they show."""

    def __init__(self, database: Database, auth: Auth) -> None:
        """Make it.

        Args:
            database: Where users are kept.
            auth: Checks tokens.
        """
        self._database = database
        self._auth = auth

    async def user_of_token(self, token: str) -> int | None:
        """The user whose valid token this is, or None. Workers' tokens are none of them."""
        try:
            principal = await self._auth.authenticate(token)
        except UnauthenticatedError:
            return None
        return principal.user_id if principal.worker is None else None

    async def administers(self, token: str) -> bool:
        """Whether a token is one of somebody who runs the server."""
        return await self.user_of_token(token) is not None

    async def workspace_of(self, user_id: int) -> int | None:
        """The workspace of a user, or None where there is none yet."""
        query = select(Workspace.id).where(Workspace.user_id == user_id)
        return await self._database.read(lambda session: session.scalar(query))

    async def local_user(self, token: str | None) -> tuple[int, str]:
        """The user of a server that serves one person, made on first use.

        Args:
            token: The token that they have; None for none.

        Returns:
            The user's id, and the token if it is still good, else a new one.
        """
        if token and (user_id := await self.user_of_token(token)) is not None:
            return user_id, token

        def issue(session: Session) -> tuple[int, str]:
            user = session.scalar(select(User).where(User.name == LOCAL_USER))
            if user is None:
                user = User(name=LOCAL_USER)
                session.add(user)
                session.flush()
            return user.id, new_token(session, user.id)

        return await self._database.write(issue)

"""The users of the server, as its pages and its life cycle ask about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from aiauto.errors import AIAutoError, FailedPreconditionError, UnauthenticatedError
from aiauto.server.auth import new_token, take_token
from aiauto.server.database.models import User, Workspace
from aiauto.server.settings import ADMIN_TOKEN_VARIABLE
from aiauto.server.web.sessions import LoggedIn

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.auth import Auth
    from aiauto.server.browsers import Browsers
    from aiauto.server.database import Database

LOCAL_USER: Final = "local"
"""The user of whoever runs the server: an admin, since its files are theirs anyhow."""
CHOSEN_TOKEN: Final = ADMIN_TOKEN_VARIABLE
"""What the token is called that they have chosen, in the list of their tokens."""

_WHY: Final = (
    "Its workers run on its own machine, as the system user who runs the server. So what one user "
    "sends could read the data of all others, and the secrets of the server. If they trust each "
    "other that far, start the server with `aiauto serve --trust-users`, or set "
    "AIAUTO_TRUST_USERS=1; else run a server for each. docs/security.md tells more."
)


class UntrustedUsersError(AIAutoError):
    """The server has several users, and was not told that they trust each other."""


class Accounts:
    """Users, by what they show."""

    def __init__(
        self, database: Database, auth: Auth, browsers: Browsers, *, trust_users: bool
    ) -> None:
        """Make it.

        Args:
            database: Where users are kept.
            auth: Checks tokens.
            browsers: Checks sessions.
            trust_users: Whether users may run code as the server's own system user, though there
                are several of them.
        """
        self._database = database
        self._auth = auth
        self._browsers = browsers
        self._trust_users = trust_users

    async def check_users(self) -> None:
        """Refuse to serve several users who were not said to trust each other.

        Raises:
            UntrustedUsersError: There are several.
        """
        if self._trust_users:
            return
        count = await self._database.read(
            lambda session: session.scalar(select(func.count()).select_from(User)) or 0
        )
        if count > 1:
            raise UntrustedUsersError(f"The server has {count} users, and does not start. {_WHY}")

    def check_another(self) -> None:
        """Refuse to make a second user where they were not said to trust each other.

        Raises:
            FailedPreconditionError: They were not.
        """
        if not self._trust_users:
            raise FailedPreconditionError(f"This server is for one user. {_WHY}")

    async def of_token(self, token: str) -> LoggedIn | None:
        """Whose valid token this is, or None. Those of workers and Pods are none of them."""
        try:
            principal = await self._auth.authenticate(token)
        except UnauthenticatedError:
            return None
        if not principal.is_user:
            return None
        return LoggedIn(principal.user_id, principal.token_id)

    async def is_admin(self, user_id: int) -> bool:
        """Whether a user is an admin."""
        query = select(User.is_admin).where(User.id == user_id)
        return bool(await self._database.read(lambda session: session.scalar(query)))

    async def may_log_in(self, who: LoggedIn) -> bool:
        """Whether a user is there and not kept out, and what they logged in with is still good."""
        return await self._browsers.principal_of(who) is not None

    async def workspace_of(self, user_id: int) -> int | None:
        """The workspace of a user, or None where there is none yet."""
        query = select(Workspace.id).where(Workspace.user_id == user_id)
        return await self._database.read(lambda session: session.scalar(query))

    async def name_of(self, user_id: int) -> str | None:
        """The name of a user, or None where there is none."""
        query = select(User.name).where(User.id == user_id)
        return await self._database.read(lambda session: session.scalar(query))

    async def local_user(self, token: str | None) -> tuple[int, str]:
        """The user of whoever runs the server, made on first use.

        Args:
            token: The token that they have; None for none.

        Returns:
            The user's id, and the token if it is still good, else a new one.
        """
        if token and (who := await self.of_token(token)) is not None:
            return who.user_id, token

        def issue(session: Session) -> tuple[int, str]:
            user_id = _local_user(session)
            return user_id, new_token(session, user_id)

        return await self._database.write(issue)

    async def admit(self, token: str) -> int:
        """Let whoever runs the server show a token that they have chosen, and not the last one.

        Args:
            token: The token.

        Returns:
            The id of their user, made on first use.

        Raises:
            ArgumentValueError: The token is somebody else's.
        """

        def take(session: Session) -> int:
            user_id = _local_user(session)
            take_token(session, user_id, token, name=CHOSEN_TOKEN)
            return user_id

        try:
            user_id = await self._database.write(take)
        except IntegrityError:
            # Another server on the same database has just done the same.
            user_id = await self._database.write(take)
        self._auth.forget()
        return user_id


def _local_user(session: Session) -> int:
    user = session.scalar(select(User).where(User.name == LOCAL_USER))
    if user is None:
        user = User(name=LOCAL_USER, is_admin=True)
        session.add(user)
        session.flush()
    return user.id

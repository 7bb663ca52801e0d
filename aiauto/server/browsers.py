"""Who calls from a browser: the server's own pages make calls with the session of who sees them.

A browser sends its cookie along whoever makes a request, so a session counts only where a page of
this server made the request, and only for what pages call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from aiauto.server.auth import Principal
from aiauto.server.database.models import Identity, Token, User, Workspace, now
from aiauto.server.web.guard import is_from_own_page

if TYPE_CHECKING:
    from aiohttp import web
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.web.sessions import LoggedIn, Sessions

# What pages call. Users are managed, and journals written, by those who hold a token.
PAGE_SERVICES = frozenset(
    {
        "aiauto.v1.AIAutoService",
        "aiauto.v1.FileService",
        "aiauto.v1.LogService",
        "aiauto.v1.ProgressService",
        "aiauto.v1.TrialService",
    }
)
# Forms of other sites can send other types without asking, but not these.
CONTENT_TYPES = frozenset({"application/json", "application/connect+json"})


class Browsers:
    """Checks the sessions of browsers."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        """Make it.

        Args:
            database: Where users and tokens are.
            sessions: Makes and checks cookies.
        """
        self._database = database
        self._sessions = sessions

    async def caller(self, request: web.Request, service: str) -> Principal | None:
        """Find out whose session a call carries.

        Args:
            request: The call.
            service: The service that it calls.

        Returns:
            The caller; None where the call carries no session, or may not be made with one.
        """
        cookie = request.cookies.get(self._sessions.cookie_name)
        if (
            cookie is None
            or request.method != "POST"
            or request.content_type not in CONTENT_TYPES
            or service not in PAGE_SERVICES
            or not is_from_own_page(request)
        ):
            return None
        who = self._sessions.of_cookie(cookie)
        return None if who is None else await self.principal_of(who)

    async def principal_of(self, who: LoggedIn) -> Principal | None:
        """Find out what a session is good for now.

        Args:
            who: For whom its cookie stands.

        Returns:
            The caller; None where the user is kept out or gone, the token that they logged in with
            is not valid any more, or an admin has said that whom the issuer knows is somebody else.
        """
        return await self._database.read(lambda session: _find(session, who))


def _find(session: Session, who: LoggedIn) -> Principal | None:
    query = (
        select(User.is_admin, Workspace.id)
        .outerjoin(Workspace, Workspace.user_id == User.id)
        .where(User.id == who.user_id, User.disabled.is_(False))
    )
    if who.token_id is not None:
        query = query.join(Token, Token.user_id == User.id).where(
            Token.id == who.token_id, or_(Token.expires_at.is_(None), Token.expires_at > now())
        )
    if who.identity_id is not None:
        query = query.join(Identity, Identity.user_id == User.id).where(
            Identity.id == who.identity_id
        )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    is_admin, workspace_id = row
    return Principal(who.user_id, who.token_id, workspace_id, is_admin=is_admin)

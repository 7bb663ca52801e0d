"""How many connections each user holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto.errors import ResourceExhaustedError
from aiauto.server.auth import current_principal
from aiauto.server.limits import told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from aiauto.connect.context import CallContext


class Connections:
    """Lets each user hold so many connections, and no more.

    A connection is held by the user who has shown something valid on it last: a proxy in front uses
    the same ones for all.
    """

    def __init__(self, limit: int) -> None:
        """Make it.

        Args:
            limit: How many.
        """
        self._limit = limit
        self._held: dict[int, set[web.RequestHandler]] = {}
        self._holders: dict[web.RequestHandler, int] = {}

    async def interceptor(
        self, context: CallContext, call_next: Callable[[], Awaitable[None]]
    ) -> None:
        """Answer a call if its user has not too many. It stands behind the check of tokens.

        Raises:
            ResourceExhaustedError: They have.
        """
        principal = current_principal()
        if principal.is_user:
            self.note(context.http_request, principal.user_id)
        await call_next()

    def note(self, request: web.Request, user_id: int) -> None:
        """Note that a request is a user's.

        Args:
            request: It.
            user_id: The user.

        Raises:
            ResourceExhaustedError: They hold too many connections. This one ends with the answer.
        """
        connection = request.protocol
        holder = self._holders.get(connection)
        if holder == user_id:
            return
        # Only who comes with a new one has to be looked at, and looks after what is gone.
        self._forget_closed(user_id)
        held = self._held.setdefault(user_id, set())
        if len(held) >= self._limit:
            connection.close()
            raise ResourceExhaustedError(
                f"Too many connections: {told('max_connections', self._limit)}. End programs that "
                "are not needed, or let each use one client for all of its calls."
            )
        if holder is not None:
            self._held[holder].discard(connection)
        held.add(connection)
        self._holders[connection] = user_id

    def _forget_closed(self, user_id: int) -> None:
        held = self._held.get(user_id, set())
        for connection in [one for one in held if not one.connected]:
            held.discard(connection)
            del self._holders[connection]

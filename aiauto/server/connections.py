"""How many connections each user holds, and how much waits in them to be read."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from aiauto.connect import retry_info
from aiauto.errors import ResourceExhaustedError
from aiauto.server.auth import current_principal
from aiauto.server.limits import told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from aiauto.connect.context import CallContext
    from aiauto.server.auth import Principal
    from aiauto.server.limits import Limits

# A worker has two or three. A proxy in front may spread its calls over more.
MAX_OF_WORKER: Final = 64
# What waits is looked at so often at most.
LOOK_SECONDS: Final = 0.1
# Whoever has too much waiting comes again after this.
RETRY_SECONDS: Final = 1.0
MIB: Final = 1024 * 1024


class Holder(NamedTuple):
    """Who holds a connection.

    Attributes:
        user_id: The user.
        worker_id: Which of their workers it is; None for their own programs and browsers.
        enrolls_for: The batch whose workers a Pod enters; None for all others.
    """

    user_id: int
    worker_id: int | None = None
    enrolls_for: int | None = None


class Connections:
    """Lets each user hold so many connections, and no more, and leave so much in them unread.

    A connection is held by who has shown something valid on it last: a proxy in front uses the same
    ones for all.
    """

    def __init__(self, limits: Limits) -> None:
        """Make it.

        Args:
            limits: How many connections, and how much.
        """
        self._limits = limits
        self._held: dict[Holder, set[web.RequestHandler]] = {}
        self._holders: dict[web.RequestHandler, Holder] = {}
        self._of_user: defaultdict[int, set[web.RequestHandler]] = defaultdict(set)
        # Bytes that wait for a user, and when that was.
        self._waiting: dict[int, tuple[int, float]] = {}

    async def interceptor(
        self, context: CallContext, call_next: Callable[[], Awaitable[None]]
    ) -> None:
        """Answer a call if its user has not too many. It stands behind the check of tokens.

        Raises:
            ResourceExhaustedError: They have, or do not read what they have asked for before.
        """
        self._note(context.http_request, _holder(current_principal()))
        await call_next()

    def note(self, request: web.Request, user_id: int) -> None:
        """Note that a request is that of a user's browser.

        Args:
            request: It.
            user_id: The user.

        Raises:
            ResourceExhaustedError: They hold too many connections, and this one ends with the
                answer; or they do not read what they have asked for before.
        """
        self._note(request, Holder(user_id))

    def _note(self, request: web.Request, holder: Holder) -> None:
        self._check_waiting(holder.user_id)
        connection = request.protocol
        before = self._holders.get(connection)
        if before == holder:
            return
        # Only who comes with a new one has to be looked at, and looks after what is gone.
        held = self._held.get(holder, set())
        self._forget_closed(held)
        limit = self._most(holder)
        if len(held) >= limit:
            connection.close()
            raise ResourceExhaustedError(self._refusal(holder, limit))
        if before is not None:
            self._forget(connection)
        self._held.setdefault(holder, held).add(connection)
        self._of_user[holder.user_id].add(connection)
        self._holders[connection] = holder

    def _most(self, holder: Holder) -> int:
        if holder.enrolls_for is not None:  # all Pods of a batch show the same token
            return self._limits.max_parallelism
        return self._limits.max_connections if holder.worker_id is None else MAX_OF_WORKER

    @staticmethod
    def _refusal(holder: Holder, limit: int) -> str:
        if holder.enrolls_for is not None:
            return f"Too many connections: {told('max_parallelism', limit)}."
        if holder.worker_id is not None:
            return f"Too many connections: a worker holds {limit} at most."
        return (
            f"Too many connections: {told('max_connections', limit)}. End programs that are not "
            "needed, or let each use one client for all of its calls."
        )

    def _check_waiting(self, user_id: int) -> None:
        limit = self._limits.max_unread_mib
        found, moment = self._waiting.get(user_id, (0, 0.0))
        if time.monotonic() - moment > LOOK_SECONDS:
            found = self._count_waiting(user_id)
        if found >= limit * MIB:
            raise ResourceExhaustedError(
                "Programs of this user have asked for more than they read: "
                f"{told('max_unread_mib', limit)}. End those that hang.",
                details=[retry_info(RETRY_SECONDS)],
            )

    def _count_waiting(self, user_id: int) -> int:
        connections = self._of_user.get(user_id, set())
        self._forget_closed(connections)
        waiting = sum(map(unread_bytes, connections))
        self._waiting[user_id] = waiting, time.monotonic()
        return waiting

    def _forget_closed(self, connections: set[web.RequestHandler]) -> None:
        for connection in [one for one in connections if not one.connected]:
            self._forget(connection)

    def _forget(self, connection: web.RequestHandler) -> None:
        holder = self._holders.pop(connection)
        of_user, held = self._of_user[holder.user_id], self._held[holder]
        of_user.discard(connection)
        held.discard(connection)
        if not held:
            del self._held[holder]
        if not of_user:
            del self._of_user[holder.user_id]
            self._waiting.pop(holder.user_id, None)


def unread_bytes(connection: web.RequestHandler) -> int:
    """How much was written to a connection and has not gone on its way."""
    transport = connection.transport
    if transport is None:
        return 0
    try:
        return transport.get_write_buffer_size()
    except AttributeError:
        # It spoke TLS and is over, and is about to be told so: then it has lost what it asks here.
        return 0


def _holder(principal: Principal) -> Holder:
    worker = principal.worker
    worker_id = None if worker is None else worker.worker_id
    return Holder(principal.user_id, worker_id, principal.enrolls_for)

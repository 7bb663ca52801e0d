"""How many calls each user has open at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aiauto.connect import retry_info
from aiauto.errors import ResourceExhaustedError
from aiauto.server.auth import current_principal
from aiauto.server.limits import told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiauto_gen.connect import Context

# Whoever has too many comes again after this.
RETRY_SECONDS = 1.0


class OpenCalls:
    """Lets each user have so many calls open at once, and no more."""

    def __init__(self, limit: int) -> None:
        """Make it.

        Args:
            limit: How many.
        """
        self._limit = limit
        self._open: Counter[int] = Counter()

    async def interceptor(self, context: Context, call_next: Callable[[], Awaitable[None]]) -> None:
        """Answer a call if its user has not too many. It stands behind the check of tokens.

        Raises:
            ResourceExhaustedError: They have; a `google.rpc.RetryInfo` says when to come again.
        """
        del context
        principal = current_principal()
        if not principal.is_user:
            await call_next()
            return
        user = principal.user_id
        if self._open[user] >= self._limit:
            raise ResourceExhaustedError(
                f"Too many calls at once: {told('max_open_calls', self._limit)}. End programs that "
                "wait for batches and are not needed.",
                details=[retry_info(RETRY_SECONDS)],
            )
        self._open[user] += 1
        try:
            await call_next()
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

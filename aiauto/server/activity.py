"""Whether anybody uses the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware


class Activity:
    """Counts the requests that are being answered, open streams included."""

    def __init__(self) -> None:
        self._open = 0
        self._last = time.monotonic()

    def touch(self) -> None:
        """Count this moment as use."""
        self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last use; 0 while a request is being answered."""
        return 0.0 if self._open else time.monotonic() - self._last

    def middleware(self) -> Middleware:
        """What must stand around every request."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._open += 1
            try:
                return await handler(request)
            finally:
                self._open -= 1
                self.touch()

        return count

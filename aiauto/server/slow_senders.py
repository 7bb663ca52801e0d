"""Senders who begin a request and do not go on: they hold a connection for so long, and no longer.

Whoever connects must have sent the head of a request after a while, and whoever has a body to send
must send it at a pace. Idle connections, between two requests, are `keepalive_timeout`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

from aiohttp import web

from aiauto.errors import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Container

    from aiohttp.typedefs import Handler, Middleware

# A body that comes more slowly than this has its time, and not more.
MIN_BYTES_PER_SECOND: Final = 4096
# So often all is looked at, or several times within the limit.
LOOK_SECONDS: Final = 1.0
LOOKS: Final = 4


class SlowSenderError(DeadlineExceededError, asyncio.TimeoutError):
    """The body of a request did not come in time. The second base keeps aiohttp from logging it."""


class SlowSenders:
    """Ends what senders do not go on with."""

    def __init__(self, *, header_timeout: float, body_timeout: float) -> None:
        """Make it. Its middleware and `watch` do the work.

        Args:
            header_timeout: Seconds from connecting to the end of the first request's head.
            body_timeout: Seconds that a body may take, and one more for every
                `MIN_BYTES_PER_SECOND` bytes of it.
        """
        self._header_timeout = header_timeout
        self._body_timeout = body_timeout
        # Connections on which a request has begun.
        self._heard: set[web.RequestHandler] = set()

    def middleware(self, *, endless: Container[str] = ()) -> Middleware:
        """What must stand around every request.

        Args:
            endless: Paths of calls whose senders may stop and go on whenever they like: streams of
                requests.
        """

        @web.middleware
        async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._heard.add(request.protocol)
            # Most bodies have come with their head.
            if request.content.is_eof() or request.path in endless:
                return await handler(request)
            body = _Body(request, self._body_timeout)
            try:
                return await handler(request)
            except SlowSenderError as error:
                # Of a page: calls have answered in their own form.
                raise web.HTTPRequestTimeout(text=f"{error}\n") from error
            finally:
                body.close()

        return limit

    async def watch(self, server: web.Server) -> NoReturn:
        """Close the connections whose first request does not come. Runs until it is cancelled.

        Args:
            server: The server that answers the application's requests.
        """
        loop = asyncio.get_running_loop()
        since: dict[web.RequestHandler, float] = {}
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._header_timeout / LOOKS))
            connections = set(server.connections)
            self._heard &= connections
            moment = loop.time()
            since = {one: since.get(one, moment) for one in connections - self._heard}
            for one, began in since.items():
                if moment - began >= self._header_timeout:
                    one.force_close()


class _Body:
    """The body of a request that has not come as a whole yet."""

    def __init__(self, request: web.Request, timeout: float) -> None:
        self._request = request
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pause = min(LOOK_SECONDS, timeout / LOOKS)
        self._deadline = self._loop.time() + timeout
        self._timer = self._loop.call_later(self._pause, self._look)

    def close(self) -> None:
        """It is no longer waited for."""
        self._timer.cancel()

    def _look(self) -> None:
        content, transport = self._request.content, self._request.transport
        if content.is_eof() or transport is None:
            return
        if not transport.is_reading():
            # It is the server that does not read on.
            self._deadline += self._pause
        earned = content.total_bytes / MIN_BYTES_PER_SECOND
        if self._loop.time() < self._deadline + earned:
            self._timer = self._loop.call_later(self._pause, self._look)
            return
        content.set_exception(
            SlowSenderError(
                "The body of the request did not come in time: this server waits "
                f"{self._timeout:g} s, and a second more for every {MIN_BYTES_PER_SECOND} bytes "
                "(its admin sets AIAUTO_BODY_TIMEOUT)."
            )
        )

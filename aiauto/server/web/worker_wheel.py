"""What a Pod downloads before it is a worker: `/worker/<the wheel of this version>`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from aiauto.errors import ResourceExhaustedError, UnauthenticatedError, UnavailableError
from aiauto.server.auth import bearer_token
from aiauto.server.wheel import NAME, OwnWheel

if TYPE_CHECKING:
    from aiauto.server.auth import Auth

PATH: Final = f"/worker/{NAME}"
"""Where it is, from the server's address on."""


class WorkerWheel:
    """Gives the server's own code to whoever has an enrollment token."""

    def __init__(self, auth: Auth) -> None:
        """Make it.

        Args:
            auth: Checks tokens.
        """
        self._auth = auth
        self._wheel = OwnWheel()

    def add_routes(self, app: web.Application) -> None:
        """Add the address."""
        app.router.add_get(PATH, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        token = bearer_token(request.headers.get("Authorization", ""))
        try:
            principal = None if not token else await self._auth.authenticate(token)
        except UnauthenticatedError:
            principal = None
            try:
                await self._auth.failed_logins.slow_down(request)
            except ResourceExhaustedError as error:
                return web.Response(text=f"{error}\n", status=429)
        except UnavailableError as error:
            return web.Response(text=f"{error}\n", status=503)
        if principal is None or principal.enrolls_for is None:
            headers = {"WWW-Authenticate": 'Bearer realm="aiauto"'}
            message = "This is for Pods that are to be workers: show an enrollment token.\n"
            return web.Response(text=message, status=401, headers=headers)
        content = await asyncio.to_thread(self._wheel.content)
        return web.Response(body=content, content_type="application/zip")

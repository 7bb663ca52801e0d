"""What those who run a server ask it: does it live, can it work, and how is it doing?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text

from aiauto.errors import AIAutoError
from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiauto.server.batches import Batches
    from aiauto.server.database import Database
    from aiauto.server.metrics import Metrics
    from aiauto.server.web.login import Login

PATIENCE_SECONDS = 3.0


class Health:
    """The pages `/healthz`, `/readyz` and `/metrics`."""

    def __init__(
        self,
        database: Database,
        batches: Batches,
        metrics: Metrics,
        login: Login,
        is_admin: Callable[[int], Awaitable[bool]],
    ) -> None:
        """Make them.

        Args:
            database: Without it the server can't work.
            batches: Know whether the server is being stopped.
            metrics: What `/metrics` shows.
            login: Finds out who asks.
            is_admin: Tells whether a user is an admin.
        """
        self._database = database
        self._batches = batches
        self._metrics = metrics
        self._login = login
        self._is_admin = is_admin

    def add_routes(self, app: web.Application) -> None:
        """Add the pages."""
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "version": __version__})

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = await self._unready()
        if reason is None:
            return web.json_response({"status": "ready", "version": __version__})
        answer = {"status": "not ready", "reason": reason, "version": __version__}
        return web.json_response(answer, status=503)

    async def _unready(self) -> str | None:
        """Why the server can't work, or None."""
        if self._batches.draining:
            return "the server is being stopped"
        try:
            asked = self._database.read(lambda session: session.execute(text("SELECT 1")).all())
            await asyncio.wait_for(asked, PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            return f"the database does not answer within {PATIENCE_SECONDS:g} s"
        except AIAutoError as error:
            return str(error)
        return None

    async def _show_metrics(self, request: web.Request) -> web.Response:
        try:
            user_id = await self._login.user_of_bearer(request)
            if user_id is None or not await self._is_admin(user_id):
                return _refused()
            body = await self._metrics.text()
        except AIAutoError as error:
            return web.Response(text=f"{error}\n", status=503)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _refused() -> web.Response:
    message = (
        "Metrics are for those who run the server: send the header `Authorization: Bearer <token>` "
        "with the token of an admin.\n"
    )
    headers = {"WWW-Authenticate": 'Bearer realm="aiauto"'}
    return web.Response(text=message, status=401, headers=headers)

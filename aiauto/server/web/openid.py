"""Logging in by the issuer of an organization: there, and back with a session.

The way there is a link and no form, since browsers hold a form's policy against every address that
it leads to.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from yarl import URL

from aiauto.server.openid.flows import FLOW_SECONDS
from aiauto.server.openid.refusals import Reason, RefusedError
from aiauto.server.web.guard import name_in
from aiauto.server.web.login import lead, local_path, words_of
from aiauto.server.web.pages import ISSUER_PATH

if TYPE_CHECKING:
    from aiohttp import web

    from aiauto.server.openid.flows import Flow, Flows
    from aiauto.server.openid.identities import Identities
    from aiauto.server.openid.issuer import Issuer
    from aiauto.server.openid.settings import OpenIdSettings
    from aiauto.server.web.links import Links
    from aiauto.server.web.login import Login

CALLBACK_PATH = f"{ISSUER_PATH}/callback"
# Such answers cost the issuer a question each, or are guesses.
SLOWED = frozenset({Reason.STALE, Reason.NOT_TRUSTED})

logger: logging.Logger = logging.getLogger("aiauto.server")


class OpenIdLogin:
    """Sends browsers to the issuer, and makes a session of what they come back with."""

    def __init__(
        self,
        settings: OpenIdSettings,
        links: Links,
        login: Login,
        flows: Flows,
        issuer: Issuer,
        identities: Identities,
    ) -> None:
        """Make it.

        Args:
            settings: By which issuer people log in.
            links: Says what people call this server.
            login: Makes sessions, and asks who is not logged in.
            flows: Binds log-ins to browsers.
            issuer: Says who somebody is.
            identities: Says which user that is.
        """
        self._name = settings.shown_name
        self._login = login
        self._flows = flows
        self._issuer = issuer
        self._identities = identities
        self._home = URL(links.base_url)
        self.redirect_uri: str = f"{links.base_url}{CALLBACK_PATH}"

    def add_routes(self, app: web.Application) -> None:
        """Add the way there and the way back."""
        # Whoever merely looks whether there is something must not use up a log-in.
        app.router.add_get(ISSUER_PATH, self._there, allow_head=False)
        app.router.add_get(CALLBACK_PATH, self._back, allow_head=False)
        app.on_cleanup.append(self._close)

    async def _there(self, request: web.Request) -> web.Response:
        target = local_path(request.query.get("next", ""))
        if self._login.takes_keys and name_in(request.host) != self._home.host:
            # This machine has several names, and a cookie is for the one by which people come back.
            return lead(str(self._home.with_path(ISSUER_PATH).with_query(next=target)))
        flow, cookie = self._flows.begin(target)
        try:
            response = lead(await self._issuer.address_for(flow, self.redirect_uri))
        except RefusedError as error:
            return await self._refuse(request, target, error)
        response.set_cookie(
            self._flows.cookie_name,
            cookie,
            max_age=FLOW_SECONDS,
            path=ISSUER_PATH,
            httponly=True,
            # Strict would keep it back when the issuer leads here.
            samesite="Lax",
            secure=self._login.is_secure(request),
        )
        return response

    async def _back(self, request: web.Request) -> web.Response:
        cookie = request.cookies.get(self._flows.cookie_name, "")
        flow = self._flows.resume(request.query.get("state", ""), cookie)
        if flow is None:
            message = "it was begun in another browser or too long ago, or has come back before"
            response = await self._refuse(request, "/", RefusedError(message, Reason.STALE))
        else:
            response = await self._finish(request, flow)
        response.del_cookie(self._flows.cookie_name, path=ISSUER_PATH)
        return response

    async def _finish(self, request: web.Request, flow: Flow) -> web.Response:
        target = local_path(flow.target)
        try:
            claims = await self._issuer.claims_of(request.query, flow, self.redirect_uri)
            who = await self._identities.user_of(claims)
        except RefusedError as error:
            return await self._refuse(request, target, error)
        response = lead(target)
        self._login.remember(request, response, who)
        return response

    async def _refuse(self, request: web.Request, target: str, error: RefusedError) -> web.Response:
        by = f" as {error.subject!r}" if error.subject else ""
        logger.warning("log-in by %s%s refused: %s", self._name, by, error)
        if error.reason in SLOWED:
            await self._login.slow_down(request)
        notice = words_of(request).openid_refusals[error.reason]
        notice = notice.format(issuer=self._name, subject=error.subject)
        return self._login.ask(request, target, notice=notice, status=error.reason.status)

    async def _close(self, _app: web.Application) -> None:
        await self._issuer.close()

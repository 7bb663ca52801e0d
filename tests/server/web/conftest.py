"""A web server on a real port with the pages in it, over real Optuna storages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp
import optuna
import pytest
from aiohttp import web
from yarl import URL

from aiauto.server.connections import Connections
from aiauto.server.failed_logins import FailedLogins
from aiauto.server.listening import listen
from aiauto.server.settings import Settings
from aiauto.server.trusted_proxies import TrustedProxies
from aiauto.server.web import guard
from aiauto.server.web.dashboard import Dashboard
from aiauto.server.web.links import Links
from aiauto.server.web.login import Login
from aiauto.server.web.sessions import LoggedIn, Sessions
from aiauto.server.web.site import Site as Pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

ADA, BOB, NEWCOMER = 1, 2, 3
TOKENS = {"aiauto_ada": ADA, "aiauto_bob": BOB, "aiauto_newcomer": NEWCOMER}


class Accounts:
    async def of_token(self, token: str) -> LoggedIn | None:
        user_id = TOKENS.get(token)
        return None if user_id is None else LoggedIn(user_id, 100 * user_id)

    async def may_log_in(self, who: LoggedIn) -> bool:
        return who.user_id in TOKENS.values()

    async def name_of(self, user_id: int) -> str | None:
        return {ADA: "ada", BOB: "<b>bob</b>"}.get(user_id)

    async def workspace_of(self, user_id: int) -> int | None:
        return None if user_id == NEWCOMER else 10 * user_id


@dataclass
class Site:
    """A running server."""

    settings: Settings
    sessions: Sessions
    links: Links
    storages: dict[int, optuna.storages.BaseStorage]
    browsers: list[aiohttp.ClientSession] = field(default_factory=list[aiohttp.ClientSession])

    def browser(self, **headers: str) -> aiohttp.ClientSession:
        """A browser: it keeps cookies, those of 127.0.0.1 too."""
        jar = aiohttp.CookieJar(unsafe=True)
        browser = aiohttp.ClientSession(
            URL(self.links.worker_url), cookie_jar=jar, headers={"Accept": "text/html", **headers}
        )
        self.browsers.append(browser)
        return browser

    async def logged_in(self, user_id: int) -> aiohttp.ClientSession:
        browser = self.browser()
        async with browser.get(f"/dashboard?key={self.sessions.key(user_id)}") as answer:
            assert answer.status == 200
        return browser


@pytest.fixture
async def start_site(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Starts a server; keyword arguments are fields of Settings."""
    runners: list[web.AppRunner] = []
    sites: list[Site] = []

    async def start(**fields: Any) -> Site:
        listener = listen(fields.get("host", "127.0.0.1"), [0])
        settings = Settings(data_dir=tmp_path, **fields)
        settings = replace(settings, port=listener.getsockname()[1])
        sessions = Sessions(b"secret" * 8)
        connections = Connections(settings.limits)
        login = Login(settings, sessions, Accounts(), FailedLogins(TrustedProxies()), connections)
        storages: dict[int, optuna.storages.BaseStorage] = {
            10 * user: optuna.storages.InMemoryStorage() for user in (ADA, BOB)
        }
        artifacts = {
            workspace: optuna.artifacts.FileSystemArtifactStore(str(tmp_path))
            for workspace in storages
        }
        dashboard = Dashboard(
            settings, login, Accounts(), storages.__getitem__, artifacts.__getitem__
        )
        app = web.Application(middlewares=[guard.host_middleware(settings)])
        app.on_response_prepare.append(guard.headers_hook(settings))
        login.add_routes(app)
        Pages(login).add_routes(app)
        dashboard.add_routes(app)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        runners.append(runner)
        site = Site(settings, sessions, Links(settings, sessions), storages)
        sites.append(site)
        return site

    yield start
    for site in sites:
        for browser in site.browsers:
            await browser.close()
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def site(start_site: Callable[..., Awaitable[Site]]) -> Site:
    return await start_site()

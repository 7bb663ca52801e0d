"""Browsers that log in by the issuer, step by step."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from aiauto.server.data_dir import DataDir
from aiauto.server.openid.flows import Flows
from aiauto.server.web.sessions import Sessions

if TYPE_CHECKING:
    from http.cookies import SimpleCookie

    from tests.server.conftest import RunningApp

OUR_PAGE = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a browser was answered."""

    status: int
    text: str
    location: str
    cookies: SimpleCookie
    headers: Any

    @property
    def notice(self) -> str:
        """What the page says that went wrong."""
        found = re.search(r'<p class="notice" role="alert">(.*?)</p>', self.text)
        return html.unescape(found[1]) if found else ""


class Visitor:
    """A browser: it keeps cookies, and goes where it is led."""

    def __init__(self, app: RunningApp, **headers: str) -> None:
        self.app = app
        jar = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(
            app.url, cookie_jar=jar, headers={"Accept": "text/html", **headers}
        )
        secret = DataDir(app.data_dir).secret()
        self.session_cookie = Sessions(secret).cookie_name
        self.flow_cookie = Flows(secret).cookie_name

    async def get(self, address: str) -> Answer:
        """Go to an address, and not on from there."""
        async with self.http.get(URL(address, encoded=True), allow_redirects=False) as answer:
            return Answer(
                answer.status,
                await answer.text(),
                answer.headers.get("Location", ""),
                answer.cookies,
                answer.headers,
            )

    async def leave(self, target: str = "/token") -> str:
        """Begin a log-in; gives the address at the issuer."""
        answer = await self.get(str(URL("/login/openid").with_query(next=target)))
        assert answer.status == 303, answer.text
        return answer.location

    async def way_back(self, target: str = "/token") -> str:
        """Begin a log-in and be let through by the issuer; gives the address to come back to."""
        answer = await self.get(await self.leave(target))
        assert answer.status == 302, answer.text
        return answer.location

    async def log_in(self, target: str = "/token") -> Answer:
        """Begin a log-in, be let through and come back."""
        return await self.get(await self.way_back(target))

    async def is_in(self) -> bool:
        """Whether the server's pages are shown."""
        return (await self.get("/token")).status == 200

    async def call(self, method: str, **request: Any) -> Any:
        """A call as the server's pages make it."""
        path = f"/aiauto.v1.AIAutoService/{method}"
        async with self.http.post(path, json=request, headers=OUR_PAGE) as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.read())

    async def name(self) -> str:
        """As whom the server knows who is logged in."""
        return str((await self.call("GetActiveToken"))["userName"])

    async def stays_out(self, answer: Answer, status: int, told: str) -> None:
        """Check that they do not come in, are told so, and can still log in by a token."""
        assert (answer.status, answer.location) == (status, ""), answer.text
        assert told in answer.notice
        assert answer.headers["Cache-Control"] == "no-store"
        assert self.session_cookie not in answer.cookies
        assert not await self.is_in()
        assert '<form method="post" action="/login">' in answer.text
        assert "Continue with Lab" in answer.text
        assert "Traceback" not in answer.text

"""Logging in: by the key in a link as Jupyter does it, by a token in a form, or by a bearer token.

Logging in by an issuer of OpenID Connect is in `aiauto.server.web.openid`.

A page that needs a user is made with `Login.required`. On loopback ``?key=...`` on any such page
sets the session cookie and leads to the same page without the key, so that it does not stay in the
address bar, in bookmarks, or in what the page tells other sites. Where a page of another site leads
a browser to such a link, and there may be several users, the person is asked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from aiauto.errors import ResourceExhaustedError
from aiauto.server.auth import bearer_token
from aiauto.server.web import pages
from aiauto.server.web.guard import is_from_own_page, is_led_by_another_site
from aiauto.server.web.sessions import LoggedIn
from aiauto.server.web.words import words_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from aiohttp.typedefs import Handler

    from aiauto.server.connections import Connections
    from aiauto.server.failed_logins import FailedLogins
    from aiauto.server.settings import Settings
    from aiauto.server.web.sessions import Sessions
    from aiauto.server.web.words import Words

    UserHandler: TypeAlias = Callable[[web.Request, int], Awaitable[web.StreamResponse]]

# Where people land who have not said where they want to go.
FIRST_PAGE = "/"
MAX_FORM_BYTES = 8 * 1024
MAX_FORM_FIELDS = 10
FOREIGN_PAGE = "A page of another site sent this request, so it was not carried out.\n"


class Accounts(Protocol):
    """What the pages ask about users."""

    async def of_token(self, token: str) -> LoggedIn | None:
        """Whose valid token this is, or None."""
        ...

    async def may_log_in(self, who: LoggedIn) -> bool:
        """Whether a user is there and not kept out, and what they logged in with is still good."""
        ...

    async def workspace_of(self, user_id: int) -> int | None:
        """The workspace of a user, or None where there is none yet."""
        ...

    async def name_of(self, user_id: int) -> str | None:
        """The name of a user, or None where there is none."""
        ...


class Login:
    """Finds out which user a browser's request is from.

    Attributes:
        takes_keys: Whether links log in by a key that they carry.
    """

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        accounts: Accounts,
        failed_logins: FailedLogins,
        connections: Connections,
    ) -> None:
        """Make a log-in.

        Args:
            settings: How the server runs.
            sessions: Makes and checks cookies and keys.
            accounts: Knows the users.
            failed_logins: Lets those wait who show tokens that are not valid.
            connections: Lets no user hold too many.
        """
        self._failed_logins = failed_logins
        self._connections = connections
        self._sessions = sessions
        self._accounts = accounts
        self.takes_keys: bool = settings.login_links
        self._may_have_users = settings.may_have_users
        self._issuer = None if settings.openid is None else settings.openid.shown_name
        self._public_https = (settings.public_url or "").startswith("https://")

    def add_routes(self, app: web.Application) -> None:
        """Add the pages for logging in and out."""
        app.router.add_get("/login", self.required(self._already))
        app.router.add_post("/login", self._by_form)
        app.router.add_post("/logout", self._log_out)

    def required(self, handler: UserHandler) -> Handler:
        """Let only known users through to a handler, which is told the user."""

        async def check(request: web.Request) -> web.StreamResponse:
            if self.takes_keys and request.method in {"GET", "HEAD"} and "key" in request.query:
                return await self._by_key(request)
            user_id = await self._user(request)
            if user_id is None:
                return self._refuse(request)
            try:
                self._connections.note(request, user_id)
            except ResourceExhaustedError as error:
                raise web.HTTPTooManyRequests(text=f"{error}\n") from error
            return await handler(request, user_id)

        return check

    async def _user(self, request: web.Request) -> int | None:
        token = bearer_token(request.headers.get("Authorization", ""))
        if token is not None:
            return _user_id(await self._by_valid_token(request, token))
        who = await self._session(request)
        if who is not None and not is_from_own_page(request):
            raise web.HTTPForbidden(text=FOREIGN_PAGE)
        return _user_id(who)

    async def user_of_bearer(self, request: web.Request) -> int | None:
        """The user whose valid token a request carries in its header, or None."""
        token = bearer_token(request.headers.get("Authorization", ""))
        return None if token is None else _user_id(await self._by_valid_token(request, token))

    async def _by_valid_token(self, request: web.Request, token: str) -> LoggedIn | None:
        who = await self._accounts.of_token(token.strip())
        if who is None:
            await self.slow_down(request)
        return who

    async def slow_down(self, request: web.Request) -> None:
        """Let whoever fails to log in wait, the longer the more often they did.

        Raises:
            HTTPTooManyRequests: Too many wait already.
        """
        try:
            await self._failed_logins.slow_down(request)
        except ResourceExhaustedError as error:
            raise web.HTTPTooManyRequests(text=f"{error}\n") from error

    async def _session(self, request: web.Request) -> LoggedIn | None:
        cookie = request.cookies.get(self._sessions.cookie_name)
        return await self._let_in(self._sessions.of_cookie(cookie) if cookie else None)

    async def _let_in(self, who: LoggedIn | None) -> LoggedIn | None:
        # The signature of a cookie or key stays good, whatever became of its user or token.
        return who if who is not None and await self._accounts.may_log_in(who) else None

    async def _by_key(self, request: web.Request) -> web.Response:
        target = local_path(str(request.rel_url.without_query_params("key")))
        key = request.query["key"]
        who = await self._of_key(key)
        if who is None and await self._session(request) is None:
            await self.slow_down(request)
            return self.ask(request, target, notice=words_of(request).wrong_key)
        if who is not None and await self._may_be_lured(request, who):
            name = await self._accounts.name_of(who.user_id) or ""
            return pages.confirm(words_of(request), name=name, key=key, target=target)
        response = lead(target)
        if who is not None:
            self.remember(request, response, who)
        return response

    async def _of_key(self, key: str) -> LoggedIn | None:
        user_id = self._sessions.user_of_key(key)
        return await self._let_in(None if user_id is None else LoggedIn(user_id))

    async def _may_be_lured(self, request: web.Request, who: LoggedIn) -> bool:
        """Whether somebody may have led a browser here for its person to work in their name."""
        if not self._may_have_users or not is_led_by_another_site(request):
            return False
        session = await self._session(request)
        return session is None or session.user_id != who.user_id

    async def _by_form(self, request: web.Request) -> web.Response:
        # Nobody may log a browser in as somebody else from another site's page.
        if not is_from_own_page(request):
            raise web.HTTPForbidden(text=FOREIGN_PAGE)
        try:
            form = await _form(request)
            key = form.get("key") if self.takes_keys else None
            token = form["token"] if key is None else None
        except (ValueError, KeyError):
            return self.ask(request, FIRST_PAGE, notice=words_of(request).not_a_form, status=400)
        target = local_path(form.get("next", ""))
        if token is not None:
            who = await self._by_valid_token(request, token)
            notice = words_of(request).not_valid
        else:
            who = await self._of_key(key or "")
            notice = words_of(request).wrong_key
            if who is None:
                await self.slow_down(request)
        if who is None:
            return self.ask(request, target, notice=notice)
        response = lead(target)
        self.remember(request, response, who)
        return response

    async def _log_out(self, request: web.Request) -> web.Response:
        if not is_from_own_page(request):
            raise web.HTTPForbidden(text=FOREIGN_PAGE)
        response = lead("/login")
        response.del_cookie(self._sessions.cookie_name, path="/")
        return response

    async def _already(self, _request: web.Request, _user_id: int) -> web.Response:
        return lead(FIRST_PAGE)

    def remember(self, request: web.Request, response: web.Response, who: LoggedIn) -> None:
        """Give a browser a session.

        Args:
            request: What it has sent.
            response: What it is answered.
            who: Whom it has logged in.
        """
        response.set_cookie(
            self._sessions.cookie_name,
            self._sessions.cookie(who),
            max_age=who.session_seconds,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self.is_secure(request),
        )

    def is_secure(self, request: web.Request) -> bool:
        """Whether a browser reaches this server by HTTPS, be it through a proxy."""
        return request.secure or self._public_https

    def ask(
        self, request: web.Request, target: str, *, notice: str = "", status: int = 401
    ) -> web.Response:
        """The page that says how to log in.

        Args:
            request: What the browser has sent.
            target: Where to go afterwards: a path on this server.
            notice: What went wrong, as text.
            status: HTTP status of the answer.
        """
        return pages.log_in(
            words_of(request),
            target=target,
            notice=notice,
            link_logs_in=self.takes_keys,
            issuer=self._issuer,
            status=status,
        )

    def _refuse(self, request: web.Request) -> web.Response:
        if "text/html" in request.headers.get("Accept", ""):
            here = FIRST_PAGE if request.path == "/login" else str(request.rel_url)
            return self.ask(request, local_path(here))
        message = "Log in first: open /login in the browser, or send an Authorization header."
        headers = {"WWW-Authenticate": 'Bearer realm="aiauto"'}
        return web.json_response({"reason": message}, status=401, headers=headers)


async def _form(request: web.Request) -> dict[str, str]:
    """What a form of ours sends, which is always the same kind: no other needs to be understood.

    Raises:
        ValueError: It is something else.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise ValueError(request.content_type)
    try:
        body = await request.clone(client_max_size=MAX_FORM_BYTES).read()
    except (web.RequestPayloadError, ContentEncodingError) as error:
        raise ValueError("the body is not what its header says") from error
    fields = parse_qsl(
        body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
    )
    return dict(fields)


def words_of(request: web.Request) -> Words:
    """The language that a request's browser prefers."""
    return words_for(request.headers.get("Accept-Language", ""))


def lead(target: str) -> web.Response:
    """Lead a browser to an address."""
    # The address may hold a key: nothing on the way may keep the answer.
    headers = {"Location": target, "Cache-Control": "no-store"}
    return web.Response(status=303, headers=headers)


def local_path(target: str) -> str:
    """The target if it is a path on this server; else, lest we lead people elsewhere, our own."""
    # `//host` and, for browsers, `/\host` are addresses of other servers.
    if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable():
        return target
    return FIRST_PAGE


def _user_id(who: LoggedIn | None) -> int | None:
    return None if who is None else who.user_id

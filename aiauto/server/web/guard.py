"""What stands before every page and every call: against pages of other sites in the browser."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from aiauto.config import is_loopback
from aiauto.server.settings import ALLOWED_HOSTS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler, Middleware

    from aiauto.server.settings import Settings

    Hook: TypeAlias = Callable[[web.Request, web.StreamResponse], Awaitable[None]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# What browsers say of a request that a page of this server made, or a person without any page.
OWN_SITES = frozenset({"same-origin", "none"})
ARTIFACTS_PATH = "/artifacts/"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}
# So long a browser that came by HTTPS comes by nothing else: a year.
HTTPS_ONLY_SECONDS = 31_536_000


def host_middleware(settings: Settings) -> Middleware:
    """Refuse requests that address the server by a name that is not its own.

    A page of another site can let its own name point at 127.0.0.1 and then read what a server there
    answers ("DNS rebinding"); but then the request carries that name.

    Args:
        settings: How the server runs. Off loopback every name is taken, unless some are configured.
    """
    names = {name.lower() for name in settings.allowed_hosts}
    restricted = settings.on_loopback or bool(names)
    if settings.public_url:
        names.add((urlsplit(settings.public_url).hostname or "").lower())
    names.discard("")

    @lru_cache(maxsize=64)
    def is_own(host: str) -> bool:
        name = name_in(host)
        return not restricted or is_loopback(name) or name in names

    @web.middleware
    async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not is_own(host):
            message = (
                f"This server does not go by the name {name_in(host)!r}. Use the address that it "
                f"printed when it started, or add the name to {ALLOWED_HOSTS_VARIABLE}.\n"
            )
            raise web.HTTPMisdirectedRequest(text=message)
        return await handler(request)

    return check_host


def headers_hook(settings: Settings) -> Hook:
    """Tell browsers to be careful.

    Args:
        settings: How the server runs.

    Returns:
        What adds the headers, for `aiohttp.web.Application.on_response_prepare`.
    """
    behind_tls = (settings.public_url or "").startswith("https://")

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if (behind_tls or request.secure) and not is_loopback(name_in(request.host)):
            # Not for this machine's own names: other programs are at them, too, and speak HTTP.
            response.headers["Strict-Transport-Security"] = f"max-age={HTTPS_ONLY_SECONDS}"
        if request.path.startswith(ARTIFACTS_PATH):
            # What a trial has left may be a page: it must not act as one of ours.
            response.headers["Content-Security-Policy"] = "sandbox"

    return add_headers


def is_from_own_page(request: web.Request) -> bool:
    """Tell whether a browser's request was made by a page of this server.

    A request that changes something and is authenticated by a cookie alone must pass this, since
    browsers attach the cookie whoever makes the request.

    Args:
        request: The request.
    """
    if request.method in SAFE_METHODS:
        return True
    # Pages can't set or change these two headers.
    if (site := request.headers.get("Sec-Fetch-Site")) is not None:
        return site in OWN_SITES
    try:
        origin = urlsplit(request.headers.get("Origin", "")).netloc.lower()
    except ValueError:
        return False
    return bool(origin) and origin == request.headers.get("Host", "").lower()


def is_led_by_another_site(request: web.Request) -> bool:
    """Tell whether a page of another site led a browser here, as far as the browser says.

    An address that somebody typed, or opened from a program that is no browser, led nobody.

    Args:
        request: The request.
    """
    return request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITES


def name_in(host: str) -> str:
    """The name in a Host header, without its port; empty where there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""

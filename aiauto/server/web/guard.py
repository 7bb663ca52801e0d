"""What stands before every page and every call: against pages of other sites in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from aiauto.server.settings import is_loopback

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from aiauto.server.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


def middleware(settings: Settings) -> Middleware:
    """Refuse names that are not the server's own, and add headers that browsers heed.

    A page of another site can let its own name point at 127.0.0.1 and then read what a server there
    answers ("DNS rebinding"); but then the request carries that name.

    Args:
        settings: How the server runs. Off loopback every name is taken, unless some are configured.
    """
    names = {name.lower() for name in settings.allowed_hosts}
    if settings.public_url:
        names.add((urlsplit(settings.public_url).hostname or "").lower())

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = _name(request.headers.get("Host", ""))
        restricted = settings.on_loopback or settings.allowed_hosts
        if restricted and not is_loopback(host) and host not in names:
            return web.Response(
                status=421,
                text=f"This server does not go by the name {host!r}. Use the address that it "
                "printed when it started, or configure that name (AIAUTO_ALLOWED_HOSTS).\n",
            )
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    return guard


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
        return site in {"same-origin", "none"}
    origin = urlsplit(request.headers.get("Origin", ""))
    return bool(origin.netloc) and origin.netloc.lower() == request.headers.get("Host", "").lower()


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""

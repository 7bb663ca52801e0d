"""The server's own pages: one HTML shell for all, and the modules and style that fill it.

The shell is for who is logged in; what fills it holds nothing of anybody's and is open to all. Its
address holds a digest of all of it, so browsers may keep it for ever and never mix two versions.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.abc import Traversable

    from aiauto.server.web.login import Login

PATHS = (
    "/",
    "/token",
    "/workspace",
    "/study",
    "/study/{name}",
    "/trialbatch",
    "/trialbatch/{name}",
)
TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
DIGEST_CHARACTERS = 16
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_FOLDER = resources.files("aiauto.server.web")


@dataclass(frozen=True)
class Asset:
    """A file of the pages, as it is sent.

    Attributes:
        content_type: Its media type.
        body: It.
        compressed: The same by gzip.
    """

    content_type: str
    body: bytes
    compressed: bytes


class Site:
    """Answers with the pages.

    Attributes:
        assets: The files of the pages, by their path.
        digest: Stands for all of them.
    """

    def __init__(self, login: Login) -> None:
        """Make it.

        Args:
            login: Lets users in.
        """
        self._login = login
        self.assets: Mapping[str, Asset] = dict(_assets(_FOLDER / "assets"))
        self.digest: str = _digest(self.assets)
        shell = Template((_FOLDER / "shell.html").read_text(encoding="utf-8"))
        self._shell = shell.substitute(assets=f"/assets/{self.digest}").encode()
        self._shell_tag = f'"{hashlib.sha256(self._shell).hexdigest()[:DIGEST_CHARACTERS]}"'

    def add_routes(self, app: web.Application) -> None:
        """Add the pages, and what they are made of."""
        page = self._login.required(self._page)
        for path in PATHS:
            app.router.add_get(path, page)
        app.router.add_get("/assets/{digest}/{path:.+}", self._asset)

    async def _page(self, request: web.Request, _user_id: int) -> web.Response:
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Frame-Options": "DENY",
            # Asked for each time: who has been logged out sees no page.
            "Cache-Control": "private, no-cache",
            "ETag": self._shell_tag,
        }
        if request.headers.get("If-None-Match") == self._shell_tag:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=self._shell, content_type="text/html", charset="utf-8", headers=headers
        )

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self.assets.get(request.match_info["path"])
        # Of another version a page is not whole: it must be loaded anew.
        if asset is None or request.match_info["digest"] != self.digest:
            raise web.HTTPNotFound(text="There is no such file of this version's pages.\n")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "ETag": f'"{self.digest}"',
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        body = asset.body
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = asset.compressed
        return web.Response(
            body=body, content_type=asset.content_type, charset="utf-8", headers=headers
        )


def _assets(folder: Traversable, before: str = "") -> list[tuple[str, Asset]]:
    """The files in a folder and below, in the order of their paths."""
    found: list[tuple[str, Asset]] = []
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        path = before + one.name
        if one.is_dir():
            found += _assets(one, f"{path}/")
        elif (type_ := TYPES.get(path[path.rfind(".") :])) is not None:
            body = one.read_bytes()
            found.append((path, Asset(type_, body, gzip.compress(body, mtime=0))))
    return found


def _digest(assets: Mapping[str, Asset]) -> str:
    digest = hashlib.sha256()
    for path, asset in assets.items():
        digest.update(f"{path}\0{len(asset.body)}\0".encode() + asset.body)
    return digest.hexdigest()[:DIGEST_CHARACTERS]

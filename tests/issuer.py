"""An issuer of OpenID Connect on a port of this machine, which can be told to misbehave.

It speaks the whole protocol: discovery, keys, authorization, tokens for codes with PKCE and the
client's secret, and user info. Whoever comes is `person`; with `asks`, they press a button first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import html
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote_plus, urlencode

from aiohttp import web
from joserfc import jwk, jwt

from aiauto.server.listening import listen
from aiauto.server.openid.settings import OpenIdSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping

DISCOVERY = "/realms/lab/.well-known/openid-configuration"
AUTHORIZE, TOKEN = "/realms/lab/authorize", "/realms/lab/token"
KEYS, USER_INFO = "/realms/lab/keys", "/realms/lab/userinfo"
CLIENT_ID = "aiauto server"
# What has to be written otherwise in a form, and again in a header.
CLIENT_SECRET = "s3cret/with:all+of %it"
PAGE = """<!DOCTYPE html><html lang="en"><title>Lab log-in</title><h1>Lab log-in</h1>
<form method="post" action="{action}"><button>I am {person}</button></form>"""


@functools.cache
def key(name: str, kind: str = "RSA") -> jwk.Key:
    """A key of the issuer, made once for all tests."""
    size: Any = {"RSA": 2048, "EC": "P-256", "OKP": "Ed25519"}[kind]
    return jwk.JWKRegistry.generate_key(kind, size, {"kid": name, "use": "sig"})


class LocalIssuer:
    """The issuer.

    Attributes:
        person: What it says of whoever comes.
        asks: Whether people have to press a button.
        only_in_user_info: Claims that are not in the ID token.
        claims: Claims of the ID token that are other than they should be; None leaves one out.
        algorithm: How it signs.
        key: With what it signs.
        published: Which keys it publishes.
        document: What is other in its discovery document; None leaves it out.
        handlers: What answers its paths.
        instead: What answers a path in its stead.
        make_token: Makes an ID token of claims.
        requests: The paths that were asked for.
        secret_things: Codes, states and tokens that it has given out or been shown.
    """

    def __init__(self, root: str) -> None:
        self.url = f"{root}/realms/lab"
        self.person: dict[str, Any] = {
            "sub": "f3b1-ada",
            "email": "Ada@example.org",
            "email_verified": True,
            "preferred_username": "ada",
        }
        self.asks = False
        self.only_in_user_info: frozenset[str] = frozenset()
        self.claims: dict[str, Any] = {}
        self.algorithm = "RS256"
        self.key = key("first")
        self.published: list[jwk.Key | dict[str, Any]] = [self.key]
        self.document: dict[str, Any] = {}
        self.instead: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.make_token: Callable[[dict[str, Any]], object] = self.signed
        self.requests: list[str] = []
        self.secret_things: set[str] = {CLIENT_SECRET}
        self.handlers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            DISCOVERY: self._discovery,
            AUTHORIZE: self._authorize,
            TOKEN: self._token,
            KEYS: self._published,
            USER_INFO: self._user_info,
        }
        self._codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        self._access: dict[str, dict[str, Any]] = {}

    def settings(self, **other: Any) -> OpenIdSettings:
        """How a server uses it."""
        given: dict[str, Any] = {
            "issuer": self.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "name": "Lab",
        }
        return OpenIdSettings(**{**given, **other})

    def environment(self) -> dict[str, str]:
        """The same in variables."""
        return {
            "AIAUTO_OIDC_ISSUER": self.url,
            "AIAUTO_OIDC_CLIENT_ID": CLIENT_ID,
            "AIAUTO_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "AIAUTO_OIDC_NAME": "Lab",
        }

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return self.requests.count(path)

    def signed(self, claims: dict[str, Any]) -> str:
        """A token with these claims, signed as it should be."""
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])

    def application(self) -> web.Application:
        """What answers."""
        app = web.Application(middlewares=[self._noted])
        for path, handler in self.handlers.items():
            app.router.add_route("*", path, handler)
        return app

    @web.middleware
    async def _noted(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(request.path)
        return await self.instead.get(request.path, handler)(request)

    async def _discovery(self, _request: web.Request) -> web.Response:
        root = self.url.removesuffix("/realms/lab")
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{root}{AUTHORIZE}?kc=1",
            "token_endpoint": f"{root}{TOKEN}",
            "jwks_uri": f"{root}{KEYS}",
            "userinfo_endpoint": f"{root}{USER_INFO}",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            **self.document,
        }
        return web.json_response({k: v for k, v in document.items() if v is not None})

    async def _published(self, _request: web.Request) -> web.Response:
        keys = [one if isinstance(one, dict) else one.as_dict() for one in self.published]
        return web.json_response({"keys": keys})

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        wanted = {"kc": "1", "response_type": "code", "client_id": CLIENT_ID}
        assert wanted.items() <= asked.items()
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        assert len(asked["code_challenge"]) == 43
        assert min(len(asked["state"]), len(asked["nonce"])) >= 43
        if self.asks and request.method == "GET":
            page = PAGE.format(
                action=html.escape(str(request.rel_url)), person=self.person["preferred_username"]
            )
            return web.Response(text=page, content_type="text/html")
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked, dict(self.person)
        self.secret_things |= {code, asked["state"], asked["nonce"]}
        query = urlencode({"code": code, "state": asked["state"], "session_state": "x"})
        raise web.HTTPFound(f"{asked['redirect_uri']}?{query}")

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: one[0] for name, one in parse_qs(await request.text()).items()}
        if self._client(request, form) != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        # A code is good once.
        asked, person = self._codes.pop(form.get("code", ""), ({}, {}))
        self.secret_things.add(form.get("code_verifier", "") or CLIENT_SECRET)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            form.get("grant_type") != "authorization_code"
            or asked.get("redirect_uri") != form.get("redirect_uri")
            or asked.get("code_challenge") != challenge
        ):
            error = {"error": "invalid_grant", "error_description": f"code {form.get('code')}"}
            return web.json_response(error, status=400)
        access = secrets.token_urlsafe(16)
        self._access[access] = person
        told = {k: v for k, v in person.items() if k not in self.only_in_user_info}
        token = self.make_token(self._claims(asked["nonce"], told))
        self.secret_things |= {access, *([token] if isinstance(token, str) and token else [])}
        return web.json_response(
            {"access_token": access, "token_type": "Bearer", "id_token": token, "expires_in": 60}
        )

    def _claims(self, nonce: str, told: Mapping[str, Any]) -> dict[str, Any]:
        moment = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": moment,
            "exp": moment + 300,
            "nonce": nonce,
            **told,
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def _client(self, request: web.Request, form: Mapping[str, str]) -> tuple[str, str]:
        in_form = self.document.get("token_endpoint_auth_methods_supported") == [
            "client_secret_post"
        ]
        if in_form:
            return form.get("client_id", ""), form.get("client_secret", "")
        kind, _, pair = request.headers.get("Authorization", "").partition(" ")
        assert kind == "Basic"
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)

    async def _user_info(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._access:
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response(self._access[token])


@contextlib.asynccontextmanager
async def issuing(
    certificate: ssl.SSLContext | None = None, *, name: str = "127.0.0.1"
) -> AsyncGenerator[LocalIssuer]:
    """Run an issuer on the loop of the test, under one of the names of this machine."""
    with listen("127.0.0.1", [0]) as listener:
        scheme = "http" if certificate is None else "https"
        issuer = LocalIssuer(f"{scheme}://{name}:{listener.getsockname()[1]}")
        runner = web.AppRunner(issuer.application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=certificate).start()
        try:
            yield issuer
        finally:
            await runner.cleanup()


@contextlib.contextmanager
def issuing_beside() -> Generator[LocalIssuer]:
    """Run an issuer on a loop of its own, for tests without one.

    For a browser it is another site than a server on 127.0.0.1.
    """
    started: list[LocalIssuer] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def run() -> None:
        async with issuing(name="localhost") as issuer:
            started.append(issuer)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()

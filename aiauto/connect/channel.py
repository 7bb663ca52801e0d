"""The way to a server: its address, who is calling, and connections that are kept for reuse."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from aiauto.connect import forks, protocol
from aiauto.connect.open_calls import OpenCalls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

__all__ = ["Channel"]

# aiohttp warns where more than this is sent in one piece of bytes, since that blocks the loop.
_LARGE_BODY: Final = 1024 * 1024
_MAX_LINE_BYTES: Final = 64 * 1024
_RESERVED: Final = {
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
}
# Addresses that have answered a call of this process: there is a server, and if it does not answer
# now, it may do so again.
_answered: Final[set[str]] = set()


@dataclass(frozen=True)
class _Connections:
    """What a channel has on one event loop."""

    session: aiohttp.ClientSession
    calls: OpenCalls


class _Loops:
    """Connections by event loop. Pickles as none, and has none after a fork."""

    def __init__(self) -> None:
        self.connections: dict[asyncio.AbstractEventLoop, _Connections] = {}
        forks.watch(self)

    def __reduce__(self) -> tuple[type[_Loops], tuple[()]]:
        return _Loops, ()

    def forget(self) -> None:
        """Leaves the connections to the parent process."""
        for connections in self.connections.values():
            forks.abandon(connections)
        self.connections = {}


class _Request(aiohttp.ClientRequest):
    # No `Accept: */*`, which says nothing: the server would take time to read it.
    DEFAULT_HEADERS = {}  # noqa: RUF012 - as aiohttp has it


class Channel:
    """Sends requests to one server, from any event loop.

    Connections belong to the loop that opened them, so each loop has a session of its own, made
    when it is first needed.

    Args:
        base_url: Address of the server, for example `https://rpc.acme.com/api`.
        token: Goes into the header `authorization: Bearer <token>`; a function is asked for it
            before every attempt.
        headers: Headers of every request.
        ssl_context: How to check the server's certificate, and one's own certificate.

    Raises:
        ValueError: The address, the token or a header can't be right.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | Callable[[], str] | None = None,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.base_url: str
        self.is_loopback: bool
        self.base_url, self.is_loopback = _check_url(base_url)
        self._ask_token = None if isinstance(token, str) else token
        self._headers = _check_headers(headers or {})
        if isinstance(token, str):
            self._headers["authorization"] = _bearer(token)
        self._ssl_context = ssl_context
        # A proxy of the environment never stands between a machine and itself.
        self._proxy = None if self.is_loopback else proxy_of(self.base_url)
        self._loops = _Loops()

    @property
    def has_answered(self) -> bool:
        """Whether the server has answered before, to whatever transport of this process."""
        return self.base_url in _answered

    def note_answer(self) -> None:
        """Remember that the server has answered."""
        _answered.add(self.base_url)

    def headers(self, own: Mapping[str, str]) -> dict[str, str]:
        """Headers of a kind of request: those of the channel, and its own."""
        return {**self._headers, **own}

    def send(
        self,
        http_method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        extra_headers: Mapping[str, str] | None,
        body: bytes | AsyncIterator[bytes] | None,
        deadline: float | None,
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Sends a request and waits until its answer begins.

        Args:
            http_method: `POST` or `GET`.
            url: Whole address.
            headers: As `headers` made them.
            extra_headers: Headers of this call.
            body: What to send.
            deadline: Moment on the loop's clock of which the server is told.
        """
        connections = self._connections()
        sent = dict(headers)
        if extra_headers:
            sent.update(_check_headers(extra_headers))
        if deadline is not None:
            left = deadline - connections.calls.loop.time()
            sent["connect-timeout-ms"] = protocol.format_timeout(left)
        if self._ask_token is not None:
            sent["authorization"] = _bearer(self._ask_token())
        data: object = body
        if isinstance(body, bytes) and len(body) > _LARGE_BODY:
            data = io.BytesIO(body)
        return connections.session.request(
            http_method, url, data=data, headers=sent, allow_redirects=False, proxy=self._proxy
        )

    def calls(self) -> OpenCalls:
        """The calls of the running loop."""
        return self._connections().calls

    def _connections(self) -> _Connections:
        loop = asyncio.get_running_loop()
        connections = self._loops.connections.get(loop)
        if connections is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl_context or True)
            session = aiohttp.ClientSession(
                connector=connector,
                request_class=_Request,
                cookie_jar=aiohttp.DummyCookieJar(),
                # Calls have deadlines of their own.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                # Answers are inflated here, within limits.
                auto_decompress=False,
                max_line_size=_MAX_LINE_BYTES,
                max_field_size=_MAX_LINE_BYTES,
            )
            connections = _Connections(session, OpenCalls(loop))
            self._loops.connections[loop] = connections
        return connections

    async def close(self) -> None:
        """Ends the calls of the running loop and closes its connections."""
        here = asyncio.get_running_loop()
        for loop, connections in self._loops.connections.copy().items():
            if loop is here or loop.is_closed():
                # Another thread that closes may have found a loop that has ended as well.
                if self._loops.connections.pop(loop, None) is None:
                    continue
                if loop is here:
                    connections.calls.end()
                await connections.session.close()

    def end_calls(self) -> None:
        """Ends the calls of the running loop."""
        connections = self._loops.connections.get(asyncio.get_running_loop())
        if connections is not None:
            connections.calls.end()


def _check_url(base_url: str) -> tuple[str, bool]:
    """The address without its last slash, and whether it is this machine's."""
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"base_url is {base_url!r}: it must be an address such as https://rpc.acme.com or "
            "http://127.0.0.1:8080"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"base_url is {base_url!r}: leave out what follows ? or #")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"base_url is {base_url!r}: {error}") from error
    try:
        loopback = ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        loopback = parts.hostname == "localhost"
    return base_url.rstrip("/"), loopback


def _check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of the caller, with names in lower case."""
    found = {name.lower(): value for name, value in headers.items()}
    for name in found:
        if name in _RESERVED or name.startswith("connect-"):
            raise ValueError(f"the header {name!r} is the protocol's own and can't be set")
    return found


def _bearer(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(
            "the token is empty or has characters that no token has: is there a line break, or "
            "was more than the token copied?"
        )
    return f"Bearer {token}"


def proxy_of(url: str) -> str | None:
    """The proxy that the environment wants for an address.

    Args:
        url: The address.

    Returns:
        Address of the proxy; None for none.
    """
    parts = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)

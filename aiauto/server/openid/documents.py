"""What the issuer sends, asked for with limits on time and size: it may be anybody's by mistake."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp

from aiauto import config
from aiauto.connect.channel import proxy_of
from aiauto.server.openid.refusals import Reason, RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

ValueT = TypeVar("ValueT")

# From the question to the last byte of the answer.
ANSWER_SECONDS = 10.0
MAX_ANSWER_BYTES: Final = 512 * 1024
# More wait for one of these.
CONNECTIONS: Final = 16


class Documents:
    """Asks for JSON objects. Follows no redirects, and takes nothing compressed."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            ArgumentValueError: ``AIAUTO_CA_BUNDLE`` can't be read.
        """
        self._authorities = config.authorities()
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask for an object.

        Args:
            url: Where it is.
            headers: What is sent along.

        Raises:
            RefusedError: It does not come, or is none.
        """
        status, found = await self._ask("GET", url, headers or {}, None)
        if status != 200:
            raise RefusedError(f"{_told(url)} answered {status}", Reason.UNREACHABLE)
        return found

    async def post(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Send a form.

        Args:
            url: Where it goes.
            headers: What is sent along.
            form: Its fields.

        Returns:
            The status of the answer, and the object in it; an empty one where it is an error
            without.

        Raises:
            RefusedError: There is no answer, or no object in it.
        """
        return await self._ask("POST", url, headers, form)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> tuple[int, dict[str, Any]]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._authorities or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                # What is small on the way may be huge here.
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            )
        loopback = config.is_loopback(urlsplit(url).hostname or "")
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=form,
                allow_redirects=False,
                proxy=None if loopback else proxy_of(url),
            ) as answer:
                return answer.status, await _object(answer, url)
        except asyncio.TimeoutError as error:
            message = f"{_told(url)} did not answer within {ANSWER_SECONDS:g} s"
            raise RefusedError(message, Reason.UNREACHABLE) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            message = f"{_told(url)} can't be reached ({type(error).__name__})"
            raise RefusedError(message, Reason.UNREACHABLE) from error


async def _object(answer: aiohttp.ClientResponse, url: str) -> dict[str, Any]:
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            answer.close()
            message = f"{_told(url)} answered more than {MAX_ANSWER_BYTES} bytes"
            raise RefusedError(message, Reason.NOT_TRUSTED)
    found: Any = None
    # So deep that it can't be read is no better than what is none.
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(bytes(body))
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    if answer.status != 200:
        return {}  # pages for people, of whoever stands before the issuer
    raise RefusedError(f"{_told(url)} answered no JSON object", Reason.NOT_TRUSTED)


def _told(url: str) -> str:
    """An address for the log: what stands behind the path is nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


class Kept(Generic[ValueT]):
    """Something that is fetched when it is needed, and kept for a while.

    Whoever asks while it is being fetched waits for that, too: however many people want to log in,
    the issuer is asked once.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[ValueT]],
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """Make it.

        Args:
            fetch: Fetches it.
            seconds: How long it is kept.
            clock: Tells the time in seconds, and never jumps.
        """
        self._fetch = fetch
        self._seconds = seconds
        self._clock = clock
        self._kept: tuple[ValueT, float] | None = None
        self._fetching: asyncio.Task[ValueT] | None = None

    async def get(self) -> ValueT:
        """It, fetched if it is not there or too old."""
        if self._kept is not None and self._clock() < self._kept[1]:
            return self._kept[0]
        return await self.anew()

    async def anew(self) -> ValueT:
        """It, fetched now."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetched())
            self._fetching.add_done_callback(self._done)
        # Whoever goes away does not take it from the others.
        return await asyncio.shield(self._fetching)

    async def _fetched(self) -> ValueT:
        value = await self._fetch()
        self._kept = value, self._clock() + self._seconds
        return value

    def _done(self, task: asyncio.Task[ValueT]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # which nobody may have waited for

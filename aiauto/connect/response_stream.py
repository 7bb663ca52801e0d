"""The messages of an answer, one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import aiohttp
import betterproto2

from aiauto.connect import answer, envelope, forks, protocol
from aiauto.connect.deadline import TimeLimit
from aiauto.connect.errors import (
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    RpcError,
    UnavailableError,
)
from aiauto.connect.metadata import Metadata
from aiauto.connect.open_calls import CallLimit
from aiauto.connect.retry import AttemptError, requested_delay, with_retries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from aiauto.connect.compression import Compression
    from aiauto.connect.open_calls import OpenCalls
    from aiauto.connect.stream_request import StreamRequest

__all__ = ["ResponseStream"]

ResponseT = TypeVar("ResponseT", bound=betterproto2.Message)

# How long the end of a body may come behind its last message for the connection to be kept.
_DRAIN_SECONDS: Final = 1.0


class ResponseStream(Generic[ResponseT]):
    """The messages of an answer as they come.

    The call begins when the first message is asked for. Iterate once; leave early with
    `async with`, or by `aclose`.

    Args:
        request: What to send.
        response_type: Class of the messages.
        timeout: Seconds for the whole stream, None for no limit.
    """

    def __init__(
        self, request: StreamRequest, response_type: type[ResponseT], *, timeout: float | None
    ) -> None:
        self._response: aiohttp.ClientResponse | None = None
        self._request = request
        self._options = request.options
        self._response_type = response_type
        self._timeout = timeout
        self._calls: OpenCalls | None = None
        self._deadline: float | None = None
        self._compression: Compression | None = None
        self._frame: tuple[int, bytes] | None = None
        self._ended = False
        self._headers = Metadata()
        self._trailers = Metadata()

    @property
    def headers(self) -> Metadata:
        """Headers of the answer; empty until the first message."""
        return self._headers

    @property
    def trailers(self) -> Metadata:
        """Trailers of the answer; empty until it ends."""
        return self._trailers

    def __aiter__(self) -> AsyncIterator[ResponseT]:
        return self

    async def __anext__(self) -> ResponseT:
        if self._ended:
            raise StopAsyncIteration
        calls = self._calls
        if calls is None:
            self._calls = calls = self._options.channel.calls()
            if self._timeout is not None:
                self._deadline = asyncio.get_running_loop().time() + self._timeout
        path = self._request.path
        try:
            limit = CallLimit(calls, path, seconds=self._timeout, deadline=self._deadline)
            with limit:
                message = await self._next(limit)
        except BaseException as error:
            # Whatever comes instead of a message, a cancellation included, is the end of the call.
            self.abort()
            failure = self._explain(error)
            if failure is error:
                raise
            raise failure from error
        if message is None:
            self._ended = True
            raise StopAsyncIteration
        return message

    async def aclose(self) -> None:
        """Ends the call. Does nothing where it has ended."""
        self.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    def abort(self) -> None:
        """Ends the call like `aclose`, from code that can't wait. Only in the loop's own thread."""
        self._ended = True
        if self._response is not None:
            # HTTP/1.1 has no other way to tell the server.
            self._response.close()

    def __del__(self) -> None:
        # A loop that was left by `break` ends the call too. The collector may run in any thread.
        response: aiohttp.ClientResponse | None = getattr(self, "_response", None)
        if response is not None and not self._ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(response.close)

    def forget(self) -> None:
        """Leaves the answer to the parent process; here, the stream has ended."""
        if self._response is not None:
            forks.abandon(self._response)
        self._response = None
        self._ended = True

    async def _next(self, limit: CallLimit) -> ResponseT | None:
        """The next message, or None at the end."""
        if self._response is None:
            await with_retries(
                self._open,
                self._options.retries,
                limit,
                repeatable=self._request.repeatable,
            )
        else:
            self._frame = await self._read(self._response)
        if self._frame is None:
            raise UnavailableError(f"{self._request.path}: the answer was cut off before its end")
        flags, data = self._frame
        if flags & envelope.END_STREAM:
            error = self._read_end(data)
            await self._drain()
            if error is not None:
                raise error
            return None
        try:
            return self._options.codec.decode(self._response_type, data)
        except ValueError as error:
            message = f"an answer of {self._request.path} can't be read: {error}"
            raise InternalError(message) from error

    async def _open(self) -> None:
        """Makes an attempt, up to the first frame of the answer."""
        calls = self._options.channel.calls()
        if not self._request.repeatable and calls.are_stale():
            await calls.settle()
        try:
            response = await self._request.send(self._deadline)
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from error
        try:
            await self._begin(response)
        except BaseException as error:
            response.close()
            if isinstance(error, aiohttp.ClientError):
                raise self._broken(error) from error
            raise
        self._response = response
        self._loop = asyncio.get_running_loop()
        forks.watch(self)
        answer.capture(self._headers, self._trailers)

    async def _begin(self, response: aiohttp.ClientResponse) -> None:
        """Reads an answer up to its first frame."""
        options = self._options
        if response.status != 200:
            raise await answer.failure(response, options.compressions)
        content_type = protocol.STREAM_PREFIX + options.codec.name
        answer.check_content_type(response, content_type, protocol.STREAM_PREFIX)
        self._compression = answer.compression_of(
            response, protocol.STREAM_ENCODING, options.compressions
        )
        self._headers = Metadata(response.headers.items())
        self._frame = await self._read(response)
        if self._frame is not None and self._frame[0] & envelope.END_STREAM:
            failure = self._read_end(self._frame[1])
            if isinstance(failure, UnavailableError) or (
                isinstance(failure, ResourceExhaustedError) and requested_delay(failure)
            ):
                raise AttemptError(failure)

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[int, bytes] | None:
        limit = self._options.max_message_bytes
        try:
            frame = await envelope.read(response.content, limit)
            if frame is None:
                return None
            flags, data = frame
            return flags, envelope.unpack(flags, data, self._compression, limit)
        except InvalidArgumentError as error:
            # It is the server's mistake here, not the caller's.
            raise InternalError(f"{self._request.path}: {error.message}") from error

    def _read_end(self, data: bytes) -> RpcError | None:
        try:
            error, trailers = protocol.end_stream_from_json(data)
        except ValueError as problem:
            message = f"{self._request.path}: the end of the answer can't be read: {problem}"
            raise InternalError(message) from problem
        self._trailers = trailers
        if error is not None:
            error.metadata = Metadata([*self._headers.pairs(), *trailers.pairs()])
        answer.capture(self._headers, trailers)
        return error

    async def _drain(self) -> None:
        """Reads to the end of the body, so that the connection can be used again."""
        response, calls = self._response, self._calls
        if response is None or calls is None or response.content.at_eof():
            return
        try:
            with TimeLimit(calls, asyncio.get_running_loop().time() + _DRAIN_SECONDS):
                rest = await response.content.readany()
        except (aiohttp.ClientError, OSError):
            rest = b"broken"
        if rest:
            response.close()

    def _explain(self, error: BaseException) -> BaseException:
        if isinstance(error, RpcError):
            return error
        if isinstance(error, aiohttp.ClientError | OSError):
            broken = self._broken(error)
            return broken.error if isinstance(broken, AttemptError) else broken
        return error

    def _broken(self, error: Exception) -> Exception:
        # Where the caller's own iterable of requests has failed, that is what the caller is told.
        return self._request.error or answer.broken(error, self._options.channel.base_url)

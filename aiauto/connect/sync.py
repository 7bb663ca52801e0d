"""Calling methods over HTTP from ordinary, blocking code."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar
from weakref import WeakSet

import betterproto2

from aiauto.connect import background
from aiauto.connect.client import Transport
from aiauto.connect.contract import NOT_GIVEN, Headers, Timeout
from aiauto.connect.errors import CanceledError
from aiauto.connect.loop_pool import LoopPool, is_loop_running
from aiauto.connect.options import COMPRESS_MIN_BYTES, DEFAULT_TIMEOUT, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    import ssl
    from collections.abc import (
        AsyncIterator,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from types import TracebackType

    from typing_extensions import Self

    from aiauto.connect.compression import Compression
    from aiauto.connect.metadata import Metadata
    from aiauto.connect.method import MethodInfo
    from aiauto.connect.response_stream import ResponseStream
    from aiauto.connect.retry import RetryPolicy

__all__ = ["SyncResponseStream", "SyncTransport"]

T = TypeVar("T")
RequestT = TypeVar("RequestT", bound=betterproto2.Message)
ResponseT = TypeVar("ResponseT", bound=betterproto2.Message)


class SyncTransport:
    """Carries the calls of blocking clients to one server.

    It may be used from any number of threads, after a fork, and where another event loop runs, as
    in a notebook. Ctrl-C cancels the call that it interrupts. A call with one answer runs in the
    thread of its caller. What streams, and whatever is called where another event loop runs, does
    so in a background thread, one for all transports of the process.

    Close it with `with` or `close`; what is left open is closed when the process ends. It pickles
    without its connections.

    Args:
        base_url: Address of the server, for example `https://rpc.acme.com` or, with the services
            under a path, `https://acme.com/rpc`.
        token: Sent as `authorization: Bearer <token>`; or a function that gives it, asked before
            every attempt, in the thread that the call runs in.
        timeout: Seconds for a call that does not say, retries included; None for no limit.
            Answers that stream have no limit unless the call sets one.
        codec: Form of the messages: `proto` or `json`.
        compressions: What messages may be compressed with, the preferred one first. Default: gzip,
            and nothing on this machine itself.
        compress_min_bytes: Size of a request message in bytes from which on it is compressed.
        headers: Headers to send with every call.
        max_message_bytes: Size of a response message, inflated, above which it is refused.
        retries: How calls are sent again that may be.
        use_get: Whether calls without side effects are sent as GET, so that caches can answer.
        ssl_context: How to check the server's certificate, and one's own certificate.

    Raises:
        ValueError: An argument can't be right.
    """

    def __init__(  # noqa: PLR0913 - each an independent setting with a default
        self,
        base_url: str,
        *,
        token: str | Callable[[], str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        codec: Literal["proto", "json"] = "proto",
        compressions: Sequence[Compression] | None = None,
        compress_min_bytes: int = COMPRESS_MIN_BYTES,
        headers: Mapping[str, str] | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        retries: RetryPolicy | None = None,
        use_get: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = Transport(
            base_url,
            token=token,
            timeout=timeout,
            codec=codec,
            compressions=compressions,
            compress_min_bytes=compress_min_bytes,
            headers=headers,
            max_message_bytes=max_message_bytes,
            retries=retries,
            use_get=use_get,
            ssl_context=ssl_context,
        )
        self._loops = LoopPool(self._transport)
        _open.add(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _open.add(self)

    @property
    def base_url(self) -> str:
        """Address of the server."""
        return self._transport.base_url

    def close(self) -> None:
        """Closes the connections. New calls open new ones.

        What other threads wait for ends with a `CanceledError`: so one thread ends the calls of
        another.
        """
        if background.is_running():
            _run(self._transport.close())
        self._loops.close()

    def __del__(self) -> None:
        # Dropped without `close`: its connections are closed all the same, without waiting.
        loops: LoopPool | None = getattr(self, "_loops", None)
        if loops is not None:
            if background.is_running():
                background.get().start_soon(self._transport.close)
            loops.close(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def unary(
        self,
        method: MethodInfo[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends one message and gives the one that is answered. See `Transport.unary`."""
        call = self._transport.unary(method, request, timeout=timeout, headers=headers)
        return _run(call) if is_loop_running() else self._loops.run(call)

    def server_stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> SyncResponseStream[ResponseT]:
        """Sends one message; the answer is any number."""
        stream = self._transport.server_stream(method, request, timeout=timeout, headers=headers)
        return SyncResponseStream(stream)

    def client_stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        requests: Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends any number of messages; the answer is one."""
        feed = _Feed(requests)
        call = self._transport.client_stream(method, feed, timeout=timeout, headers=headers)
        try:
            return _run(call, feed.fill)
        finally:
            feed.stop()

    def bidi_stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        requests: Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> SyncResponseStream[ResponseT]:
        """Sends any number of messages; the answer is any number.

        The messages are sent while answers are waited for: `requests` is iterated over as far as
        the next answer needs it, which a server may give before it has read all of them.
        """
        feed = _Feed(requests)
        stream = self._transport.bidi_stream(method, feed, timeout=timeout, headers=headers)
        return SyncResponseStream(stream, feed)


class SyncResponseStream(Generic[ResponseT]):
    """The messages of an answer as they come.

    The call begins when the first message is asked for. Iterate once; leave early with `with`, or
    by `close`.
    """

    def __init__(
        self,
        stream: ResponseStream[ResponseT],
        feed: _Feed[Any] | None = None,
    ) -> None:
        self._stream = stream
        self._feed = feed
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def headers(self) -> Metadata:
        """Headers of the answer; empty until the first message."""
        return self._stream.headers

    @property
    def trailers(self) -> Metadata:
        """Trailers of the answer; empty until it ends."""
        return self._stream.trailers

    def __iter__(self) -> Iterator[ResponseT]:
        return self

    def __next__(self) -> ResponseT:
        self._loop = background.get().loop
        try:
            message = _run(self._next(), None if self._feed is None else self._feed.fill)
        except BaseException:
            self._stop_feed()
            raise
        if message is None:
            self._loop = None
            self._stop_feed()
            raise StopIteration
        return message

    def _stop_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()

    async def _next(self) -> ResponseT | None:
        return await anext(self._stream, None)

    def close(self) -> None:
        """Ends the call. Does nothing where it has ended."""
        self._stop_feed()
        if not background.runs(self._loop):
            return  # and with the loop the call has ended
        self._loop = None
        if background.get().is_current_thread():
            # The garbage collector has come to a generator that was left in the middle.
            self._stream.abort()
        else:
            _run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A loop that was left by `break` ends the call too, without waiting.
        loop: asyncio.AbstractEventLoop | None = getattr(self, "_loop", None)
        if loop is not None and background.runs(loop):
            loop.call_soon_threadsafe(self._stream.abort)


class _Feed(Generic[T]):
    """Hands what the caller's thread iterates over to a coroutine in the background loop."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(maxsize=1)
        self._putting: concurrent.futures.Future[None] | None = None
        self._used_up = False

    def fill(self, call: concurrent.futures.Future[Any]) -> None:
        """Iterates, in the caller's thread, until there is no more or what it waits for is there.

        May be called again, for the next thing to wait for, and goes on where it has stopped.
        """
        while not call.done():
            if self._putting is None:
                if self._used_up:
                    return
                item = next(self._items, None)
                self._used_up = item is None
                self._putting = background.get().submit(self._queue.put(item))
            waiting = (self._putting, call)
            concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            if self._putting.done():
                self._putting = None

    def stop(self) -> None:
        """Gives up what nobody takes any more."""
        if self._putting is not None:
            self._putting.cancel()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        return item


def _run(
    coroutine: Coroutine[Any, Any, T],
    meanwhile: Callable[[concurrent.futures.Future[Any]], None] | None = None,
) -> T:
    """Runs a coroutine in the background and waits for what it gives.

    Args:
        coroutine: It.
        meanwhile: Runs in the caller's thread while the coroutine runs.
    """
    future = background.get().submit(coroutine)
    try:
        if meanwhile is not None:
            meanwhile(future)
        return future.result()
    except concurrent.futures.CancelledError as error:
        raise CanceledError("the call was cancelled: the process is ending") from error
    except BaseException:
        # Ctrl-C, or an error in the caller's iterable: nobody waits for the call any more.
        future.cancel()
        raise


_open: Final[WeakSet[SyncTransport]] = WeakSet()


# Registered after the background loop's own, so it runs before that.
@atexit.register
def _close_all() -> None:
    for transport in list(_open):
        transport.close()

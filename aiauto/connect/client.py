"""Calling methods over HTTP, asynchronously."""

from __future__ import annotations

import base64
import urllib.parse
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import aiohttp
import betterproto2

from aiauto.connect import answer, protocol
from aiauto.connect.bodies import read_body
from aiauto.connect.channel import Channel
from aiauto.connect.codec import CODECS, JSON
from aiauto.connect.compression import Compressions
from aiauto.connect.contract import NOT_GIVEN, Headers, Idempotency, Timeout
from aiauto.connect.errors import InternalError, RpcError, UnimplementedError
from aiauto.connect.method import MethodInfo, is_repeatable
from aiauto.connect.open_calls import CallLimit
from aiauto.connect.options import (
    COMPRESS_MIN_BYTES,
    DEFAULT_COMPRESSIONS,
    DEFAULT_TIMEOUT,
    MAX_MESSAGE_BYTES,
    ClientOptions,
    resolve_timeout,
)
from aiauto.connect.response_stream import ResponseStream
from aiauto.connect.retry import RetryPolicy, with_retries
from aiauto.connect.stream_request import StreamRequest, encode, stream_headers

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from aiauto.connect.compression import Compression

__all__ = ["Transport"]

RequestT = TypeVar("RequestT", bound=betterproto2.Message)
ResponseT = TypeVar("ResponseT", bound=betterproto2.Message)

_HttpRequest: TypeAlias = "tuple[str, str, Mapping[str, str], bytes | None]"
"""HTTP method, address, headers and body."""

# A longer address than this is refused by some server or proxy on the way: such a call is a POST.
_LONGEST_URL = 8000


class Transport:
    """Carries the calls of asynchronous clients to one server.

    It may be used from several event loops; each has connections of its own and closes them, with
    `async with` or `close`. It pickles without its connections.

    Args:
        base_url: Address of the server, for example `https://rpc.acme.com` or, with the services
            under a path, `https://acme.com/rpc`.
        token: Sent as `authorization: Bearer <token>`; or a function that gives it, asked before
            every attempt.
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
        if codec not in CODECS:
            raise ValueError(f"codec is {codec!r}: it must be one of {', '.join(CODECS)}")
        channel = Channel(base_url, token=token, headers=headers, ssl_context=ssl_context)
        if compressions is None:
            compressions = () if channel.is_loopback else DEFAULT_COMPRESSIONS
        self._options = ClientOptions(
            channel=channel,
            codec=CODECS[codec],
            compressions=Compressions(compressions, min_bytes=compress_min_bytes),
            send_compression=compressions[0] if compressions else None,
            max_message_bytes=max_message_bytes,
            retries=RetryPolicy() if retries is None else retries,
            timeout=resolve_timeout(timeout, None),
            use_get=use_get,
        )
        self._content_type = protocol.UNARY_PREFIX + codec
        accepted = {"accept-encoding": self._options.compressions.accept or "identity"}
        self._get_headers = channel.headers(accepted)
        self._post_headers = {
            **self._get_headers,
            "content-type": self._content_type,
            "connect-protocol-version": protocol.PROTOCOL_VERSION,
        }
        self._stream_headers = stream_headers(self._options)

    @property
    def base_url(self) -> str:
        """Address of the server."""
        return self._options.channel.base_url

    async def close(self) -> None:
        """Closes the connections of the running loop. New calls open new ones.

        Calls that have not ended do so with a `CanceledError`.
        """
        await self._options.channel.close()

    def end_calls(self) -> None:
        """Ends the calls of the running loop with a `CanceledError`; closes nothing yet."""
        self._options.channel.end_calls()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --------------------------------------------------------------------------- streams

    def server_stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseStream[ResponseT]:
        """Sends one message; the answer is any number. See `ResponseStream`."""
        repeatable = is_repeatable(method, request)
        return self._stream(method, request, headers, timeout, repeatable=repeatable)

    async def client_stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        requests: AsyncIterable[RequestT] | Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends any number of messages; the answer is one. See `unary` for what it raises."""
        timeout = resolve_timeout(timeout, self._options.timeout)
        async with self._stream(method, requests, headers, timeout, repeatable=False) as stream:
            message = await anext(stream, None)
            if message is None:
                raise UnimplementedError(f"{method.path} answered with no message instead of one")
            if await anext(stream, None) is not None:
                raise UnimplementedError(f"{method.path} answered with several messages")
        return message

    def bidi_stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        requests: AsyncIterable[RequestT] | Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseStream[ResponseT]:
        """Sends any number of messages; the answer is any number.

        HTTP/1.1 lets a server answer only when it has read the request: don't wait for an answer
        before you send the next message.
        """
        return self._stream(method, requests, headers, timeout, repeatable=False)

    def _stream(
        self,
        method: MethodInfo[RequestT, ResponseT],
        messages: RequestT | AsyncIterable[RequestT] | Iterable[RequestT],
        headers: Headers,
        timeout: Timeout,
        *,
        repeatable: bool,
    ) -> ResponseStream[ResponseT]:
        request = StreamRequest(
            self._options,
            method.path,
            messages,
            headers=self._stream_headers,
            extra_headers=headers,
            repeatable=repeatable,
        )
        seconds = resolve_timeout(timeout, None)
        return ResponseStream(request, method.response_type, timeout=seconds)

    # ----------------------------------------------------------------------------- unary

    async def unary(
        self,
        method: MethodInfo[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends one message; the answer is one.

        Args:
            method: What to call.
            request: The message.
            timeout: Seconds that the call may take, retries included; None for no limit.
            headers: Headers to send besides the transport's.

        Raises:
            RpcError: The call failed. What can't be reached is an `UnavailableError`, what takes
                too long a `DeadlineExceededError`; all others say what the server said.
            ValueError: The timeout can't be one.
        """
        options = self._options
        seconds = resolve_timeout(timeout, options.timeout)
        calls = options.channel.calls()
        deadline = None if seconds is None else calls.loop.time() + seconds
        sent = self._http_request(method, encode(options, method.path, request))
        repeatable = is_repeatable(method, request)
        with CallLimit(calls, method.path, seconds=seconds, deadline=deadline) as limit:
            if calls.are_stale():
                await calls.settle()
            message = await with_retries(
                lambda: self._attempt(method, sent, headers, deadline),
                options.retries,
                limit,
                repeatable=repeatable,
                patience=options.retries.patience if options.channel.has_answered else 0.0,
            )
        options.channel.note_answer()
        return message

    def _http_request(self, method: MethodInfo[Any, Any], body: bytes) -> _HttpRequest:
        options = self._options
        url = options.channel.base_url + method.path
        headers: Mapping[str, str] = self._post_headers
        compression = options.send_compression
        if compression is not None and len(body) >= options.compressions.min_bytes:
            body = compression.compress(body)
            headers = {**headers, "content-encoding": compression.name}
        else:
            compression = None
        if options.use_get and method.idempotency == Idempotency.NO_SIDE_EFFECTS:
            get_url = f"{url}?{self._query(body, compression)}"
            if len(get_url) <= _LONGEST_URL:
                return "GET", get_url, self._get_headers, None
        return "POST", url, headers, body

    async def _attempt(
        self,
        method: MethodInfo[RequestT, ResponseT],
        sent: _HttpRequest,
        extra_headers: Headers,
        deadline: float | None,
    ) -> ResponseT:
        http_method, url, headers, body = sent
        try:
            response = await self._options.channel.send(
                http_method,
                url,
                headers=headers,
                extra_headers=extra_headers,
                body=body,
                deadline=deadline,
            )
            try:
                data = await self._read(response)
            except BaseException:
                # Read to its end, an answer gives its connection back by itself.
                async with response:
                    raise
        except RpcError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise answer.broken(error, self.base_url) from error
        answer.capture_unary(response)
        try:
            return self._options.codec.decode(method.response_type, data)
        except ValueError as error:
            message = f"the answer of {method.path} can't be read: {error}"
            raise InternalError(message) from error

    def _query(self, body: bytes, compression: Compression | None) -> str:
        parts = {"connect": "v1", "encoding": self._options.codec.name}
        if compression is not None:
            parts["compression"] = compression.name
        if compression is None and self._options.codec is JSON:
            parts["message"] = body.decode()
        else:
            parts["base64"] = "1"
            parts["message"] = base64.urlsafe_b64encode(body).decode().rstrip("=")
        return urllib.parse.urlencode(parts, quote_via=urllib.parse.quote)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        options = self._options
        if response.status != 200:
            answer.capture_unary(response)
            raise await answer.failure(response, options.compressions)
        answer.check_content_type(response, self._content_type, protocol.UNARY_PREFIX)
        compression = answer.compression_of(response, "content-encoding", options.compressions)
        data = await read_body(response, options.max_message_bytes)
        if compression is None or not data:
            return data
        try:
            return compression.decompress(data, options.max_message_bytes)
        except ValueError as error:
            raise InternalError(f"the answer can't be read: {error}") from error

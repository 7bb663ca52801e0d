"""Serving a method that streams, on one side or on both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import hdrs, web

from aiauto.connect import envelope, protocol
from aiauto.connect.context import CallContext
from aiauto.connect.contract import StreamKind
from aiauto.connect.endpoint import (
    CallerGoneError,
    Endpoint,
    Options,
    add_metadata,
    logger,
)
from aiauto.connect.errors import InvalidArgumentError, UnimplementedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import betterproto2

    from aiauto.connect.codec import Codec
    from aiauto.connect.compression import Compression
    from aiauto.connect.errors import RpcError
    from aiauto.connect.method import MethodInfo

__all__ = ["StreamEndpoint"]

# nginx, and proxies that took this over from it, else hold back what is small until there is more.
UNBUFFERED = ("X-Accel-Buffering", "no")


class StreamEndpoint(Endpoint):
    """Answers POST with a stream, whose last frame tells how the call ended."""

    content_prefix = protocol.STREAM_PREFIX

    def __init__(
        self, method: MethodInfo[Any, Any], handler: Callable[[Any, Any], Any], options: Options
    ) -> None:
        super().__init__(method, handler, options)
        self._one_request = method.kind == StreamKind.SERVER_STREAM
        self._one_response = method.kind == StreamKind.CLIENT_STREAM

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        if request.method not in self.http_methods:
            return self.wrong_http_method(request)
        content_type = request.headers.get(hdrs.CONTENT_TYPE, "")
        codec = self.codec_of(content_type)
        if codec is None:
            return self.unsupported(content_type)

        context = CallContext(self.method.path, request)
        writer = _Writer(self, context, codec)

        async def answer() -> None:
            reader = _Reader(self, request, codec)
            argument = await reader.only() if self._one_request else reader
            found = self.handler(argument, context)
            if self._one_response:
                await writer.send(await found)
            else:
                await writer.send_all(found)

        try:
            context.read_protocol_headers()
        except InvalidArgumentError as error:
            return await writer.end(error)
        try:
            failure = await self.run(context, answer)
        except CallerGoneError:
            logger.debug("the caller of %s has gone away", self.method.path)
            return writer.response
        return await writer.end(failure)


class _Reader:
    """The messages of a request, as the method iterates over them."""

    def __init__(self, endpoint: StreamEndpoint, request: web.Request, codec: Codec) -> None:
        self._endpoint = endpoint
        self._content = request.content
        self._codec = codec
        self._limit = endpoint.options.max_message_bytes
        self._compression = endpoint.options.compressions.named(
            request.headers.get(protocol.STREAM_ENCODING)
        )

    def __aiter__(self) -> AsyncIterator[betterproto2.Message]:
        return self

    async def __anext__(self) -> betterproto2.Message:
        try:
            frame = await envelope.read(self._content, self._limit)
        except web.RequestPayloadError as error:
            raise InvalidArgumentError("the request ends too early") from error
        if frame is None:
            raise StopAsyncIteration
        flags, data = frame
        if flags & envelope.END_STREAM:
            raise InvalidArgumentError("a request has no end-of-stream message")
        data = envelope.unpack(flags, data, self._compression, self._limit)
        return cast("betterproto2.Message", self._endpoint.decode(self._codec, data))

    async def only(self) -> betterproto2.Message:
        """The one message of a request that has one."""
        path = self._endpoint.method.path
        message = await anext(self, None)
        if message is None:
            raise UnimplementedError(f"{path} takes one request message, found none")
        if await anext(self, None) is not None:
            raise UnimplementedError(f"{path} takes one request message, found several")
        return message


class _Writer:
    """The answer. Its headers are sent with its first frame, so that the method can set them."""

    def __init__(self, endpoint: StreamEndpoint, context: CallContext, codec: Codec) -> None:
        self.response = web.StreamResponse()
        self._endpoint = endpoint
        self._context = context
        self._codec = codec
        self._compression: Compression | None = None

    async def send(self, message: object) -> None:
        """Sends a message."""
        data = self._endpoint.encode(self._codec, message)
        await self._write(data)

    async def send_all(self, messages: AsyncIterator[object]) -> None:
        """Sends messages as they come."""
        if not hasattr(messages, "__aiter__"):
            if asyncio.iscoroutine(messages):
                messages.close()
            raise TypeError(
                f"{self._endpoint.method.path} must be an asynchronous generator (an `async def` "
                f"with `yield`), but gave {type(messages).__name__}"
            )
        try:
            async for message in messages:
                await self.send(message)
        finally:
            # A generator that was left early shall clean up now, not when it is collected.
            close = getattr(messages, "aclose", None)
            if close is not None:
                await close()

    async def end(self, error: RpcError | None) -> web.StreamResponse:
        """Tells how the call ended, and ends the answer."""
        end = protocol.end_stream_to_json(error, self._context.response_trailers)
        try:
            await self._write(end, flags=envelope.END_STREAM)
            await self.response.write_eof()
        except (CallerGoneError, ConnectionResetError):
            logger.debug("the caller of %s has gone away", self._context.method)
        return self.response

    async def _write(self, data: bytes, flags: int = 0) -> None:
        if not self.response.prepared:
            await self._begin()
        min_bytes = self._endpoint.options.compressions.min_bytes
        try:
            await self.response.write(envelope.pack(data, self._compression, min_bytes, flags))
        except ConnectionResetError as error:
            raise CallerGoneError from error

    async def _begin(self) -> None:
        request = self._context.http_request
        accepted = request.headers.get(protocol.STREAM_ACCEPT_ENCODING)
        if accepted is None:
            accepted = request.headers.get(protocol.STREAM_ENCODING)
        self._compression = self._endpoint.options.compressions.choose(accepted)
        headers = self.response.headers
        headers[hdrs.CONTENT_TYPE] = protocol.STREAM_PREFIX + self._codec.name
        headers.add(*UNBUFFERED)
        if self._compression is not None:
            headers[protocol.STREAM_ENCODING] = self._compression.name
        add_metadata(self.response, self._context.response_headers)
        await self.response.prepare(request)

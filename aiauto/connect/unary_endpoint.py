"""Serving a method with one request and one response message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from aiauto.connect import protocol
from aiauto.connect.bodies import read_body
from aiauto.connect.context import CallContext
from aiauto.connect.contract import Idempotency
from aiauto.connect.endpoint import (
    Endpoint,
    Options,
    add_metadata,
    error_response,
)
from aiauto.connect.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiauto.connect.codec import Codec
    from aiauto.connect.method import MethodInfo

__all__ = ["UnaryEndpoint"]


class UnaryEndpoint(Endpoint):
    """Answers POST, and GET where the method has no side effects."""

    content_prefix = protocol.UNARY_PREFIX

    def __init__(
        self, method: MethodInfo[Any, Any], handler: Callable[[Any, Any], Any], options: Options
    ) -> None:
        super().__init__(method, handler, options)
        if method.idempotency == Idempotency.NO_SIDE_EFFECTS:
            self.http_methods.append(hdrs.METH_GET)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        if request.method not in self.http_methods:
            return self.wrong_http_method(request)
        is_get = request.method == hdrs.METH_GET
        if is_get:
            content_type = protocol.UNARY_PREFIX + request.query.get("encoding", "")
        else:
            content_type = request.headers.get(hdrs.CONTENT_TYPE, "")
        codec = self.codec_of(content_type)
        if codec is None:
            return self.unsupported(content_type)

        context = CallContext(self.method.path, request)
        body = b""

        async def answer() -> None:
            nonlocal body
            read = self._read_query if is_get else self._read_post
            message = self.decode(codec, await read(request))
            body = self.encode(codec, await self.handler(message, context))

        try:
            context.read_protocol_headers()
        except InvalidArgumentError as error:
            return error_response(error)
        failure = await self.run(context, answer)
        if failure is None:
            response = self._response(request, codec, body)
        else:
            response = error_response(failure)
        if context.has_metadata:
            add_metadata(response, context.response_headers)
            add_metadata(response, context.response_trailers, protocol.TRAILER_PREFIX)
        return response

    def _response(self, request: web.Request, codec: Codec, body: bytes) -> web.Response:
        headers = {hdrs.CONTENT_TYPE: protocol.UNARY_PREFIX + codec.name}
        compressions = self.options.compressions
        if len(body) >= compressions.min_bytes:
            accepted = request.headers.get(hdrs.ACCEPT_ENCODING)
            if accepted is None:
                accepted = request.headers.get(hdrs.CONTENT_ENCODING)
            compression = compressions.choose(accepted)
            if compression is not None:
                body = compression.compress(body)
                headers[hdrs.CONTENT_ENCODING] = compression.name
        if request.method == hdrs.METH_GET:
            headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return web.Response(body=body, headers=headers)

    async def _read_post(self, request: web.Request) -> bytes:
        compression = self.options.compressions.named(request.headers.get(hdrs.CONTENT_ENCODING))
        limit = self.options.max_message_bytes
        try:
            data = await read_body(request, limit)
        except web.RequestPayloadError as error:
            raise InvalidArgumentError("the body of the request ends too early") from error
        if compression is None or not data:
            return data
        try:
            return compression.decompress(data, limit)
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from error

    async def _read_query(self, request: web.Request) -> bytes:
        query = request.query
        if query.get("connect", "v1") != "v1":
            raise InvalidArgumentError(f"the query has connect={query['connect']!r}, not 'v1'")
        message = query.get("message")
        if message is None:
            raise InvalidArgumentError(
                f"the query has no message: call {self.method.path}?encoding=json&message={{...}}"
            )
        compression = self.options.compressions.named(query.get("compression"))
        try:
            is_base64 = query.get("base64") == "1"
            data = protocol.from_base64(message) if is_base64 else message.encode()
            if compression is not None and data:
                data = compression.decompress(data, self.options.max_message_bytes)
        except ValueError as error:
            raise InvalidArgumentError(f"the message in the query: {error}") from error
        return data

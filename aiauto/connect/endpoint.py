"""One method of a service as an HTTP handler: what unary calls and streams have in common."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import hdrs, web

from aiauto.connect import codec, protocol
from aiauto.connect.context import CallContext
from aiauto.connect.deadline import Deadlines, TimeLimit
from aiauto.connect.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    RpcError,
    UnimplementedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto.connect.codec import Codec
    from aiauto.connect.compression import Compressions
    from aiauto.connect.metadata import Metadata
    from aiauto.connect.method import MethodInfo

logger: Final = logging.getLogger("aiauto.connect")

Next: TypeAlias = Callable[[], Awaitable[None]]
"""Goes on with a call. Raises what the method raises."""

Interceptor: TypeAlias = Callable[[CallContext, Next], Awaitable[None]]
"""Runs around every call, before the body of the request is read."""


class CallerGoneError(Exception):
    """Nobody is there any more to answer to."""


@dataclass(frozen=True)
class Options:
    """How all methods of a server are served. See `aiauto.connect.add_services`."""

    interceptors: Sequence[Interceptor]
    compressions: Compressions
    max_message_bytes: int
    deadlines: Deadlines = field(default_factory=Deadlines)
    """Those of all calls, since an application runs on one loop only."""


class Endpoint:
    """Answers the HTTP requests for one method."""

    content_prefix: str
    """What stands in front of the codec's name in a content type."""

    def __init__(
        self, method: MethodInfo[Any, Any], handler: Callable[[Any, Any], Any], options: Options
    ) -> None:
        self.method = method
        self.handler = handler
        self.options = options
        self.http_methods: list[str] = [hdrs.METH_POST]
        self._codecs = {self.content_prefix + name: one for name, one in codec.CODECS.items()}

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        raise NotImplementedError

    # --------------------------------------------------------------------------- requests

    def wrong_http_method(self, request: web.Request) -> web.Response:
        """The answer to a request with an HTTP method that does not fit."""
        allowed = ", ".join(self.http_methods)
        return plain_error(
            405,
            f"{request.method} does not fit {self.method.path}: use {allowed}",
            {hdrs.ALLOW: allowed},
        )

    def codec_of(self, content_type: str) -> Codec | None:
        """The codec that a content type names, None where it names none of this method's."""
        found = self._codecs.get(content_type)
        if found is None:
            found = self._codecs.get(content_type.partition(";")[0].strip().lower())
        return found

    def unsupported(self, content_type: str) -> web.Response:
        """The answer to a request with a content type that does not fit."""
        accepted = ", ".join(self._codecs)
        found = f"the content type {content_type!r}" if content_type else "no content type"
        return plain_error(
            415,
            f"{self.method.path} can't be called with {found}: use {accepted}",
            {"Accept-Post": accepted},
        )

    # -------------------------------------------------------------------------- the call

    async def run(self, context: CallContext, answer: Next) -> RpcError | None:
        """Runs the interceptors and the method, and gives the error that the call ends with."""
        call_next = answer
        for interceptor in reversed(self.options.interceptors):
            call_next = partial(interceptor, context, call_next)
        limit = TimeLimit(self.options.deadlines, context.deadline)
        try:
            with limit:
                await call_next()
        except RpcError as error:
            return error
        except NotImplementedError as error:
            return UnimplementedError(str(error) or f"{self.method.path} is not implemented")
        except TimeoutError as error:
            if limit.expired():
                return DeadlineExceededError(f"{self.method.path} took longer than its deadline")
            return self._unexpected(error)
        except CallerGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a method raises is its caller's to know
            return self._unexpected(error)
        return None

    def _unexpected(self, error: Exception) -> RpcError:
        logger.error("%s failed", self.method.path, exc_info=error)
        return InternalError(
            f"the server failed to answer {self.method.path} ({type(error).__name__}); its log "
            "tells more"
        )

    def decode(self, reader: Codec, data: bytes) -> Any:  # noqa: ANN401 - the method's request
        """Reads a request message."""
        try:
            return reader.decode(self.method.request_type, data)
        except ValueError as error:
            message = f"the request of {self.method.path} can't be read: {error}"
            raise InvalidArgumentError(message) from error

    def encode(self, writer: Codec, message: Any) -> bytes:  # noqa: ANN401 - what a method gave
        """Writes a response message, checking that it is one."""
        if not isinstance(message, self.method.response_type):
            raise TypeError(
                f"{self.method.path} answers with {type(message).__name__}, not with "
                f"{self.method.response_type.__name__}"
            )
        return writer.encode(message)


def plain_error(status: int, message: str, headers: dict[str, str]) -> web.Response:
    """An error with an HTTP status of its own, which has the last word over the code."""
    error = RpcError.of(protocol.code_of_status(status), message)
    return error_response(error, status=status, headers=headers)


def error_response(
    error: RpcError, *, status: int | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """A unary answer with an error."""
    return web.Response(
        status=protocol.http_status(error.code) if status is None else status,
        body=protocol.error_to_json(error),
        headers={**(headers or {}), hdrs.CONTENT_TYPE: "application/json"},
    )


def add_metadata(response: web.StreamResponse, metadata: Metadata, prefix: str = "") -> None:
    """Adds headers or trailers to an answer."""
    for name, value in metadata.pairs():
        response.headers.add(prefix + name, value)

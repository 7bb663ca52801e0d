"""Answers as a client gets them: good ones, errors, and those of something else entirely."""

from __future__ import annotations

import re
import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs

from aiauto.connect import protocol
from aiauto.connect.bodies import read_body
from aiauto.connect.errors import (
    InternalError,
    ResourceExhaustedError,
    RpcError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)
from aiauto.connect.metadata import Metadata
from aiauto.connect.retry import AttemptError, requested_delay

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from typing_extensions import Self

    from aiauto.connect.compression import Compression, Compressions

__all__ = ["ResponseMetadata"]

_captured: ContextVar[ResponseMetadata | None] = ContextVar("aiauto.connect.captured", default=None)
# Of an answer that is none of ours, so much is read, and so much of that is shown.
_FOREIGN_BYTES: Final = 64 * 1024
_SHOWN_CHARS: Final = 200


class ResponseMetadata:
    """Catches the headers and trailers of the calls in a block; the last call wins.

    ::

        with ResponseMetadata() as answer:
            client.get_order(request)
        print(answer.headers["etag"])

    Attributes:
        headers: Headers of the answer, empty until there is one.
        trailers: Trailers of the answer.
    """

    def __init__(self) -> None:
        self.headers: Metadata = Metadata()
        self.trailers: Metadata = Metadata()
        self._tokens: list[Token[ResponseMetadata | None]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_captured.set(self))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _captured.reset(self._tokens.pop())


def capture(headers: Metadata, trailers: Metadata) -> None:
    """Hands headers and trailers to whoever catches them."""
    catcher = _captured.get()
    if catcher is not None:
        catcher.headers, catcher.trailers = headers, trailers


def capture_unary(response: aiohttp.ClientResponse) -> None:
    """Hands on the headers and trailers of a unary answer."""
    if _captured.get() is not None:
        capture(*split_metadata(response))


def split_metadata(response: aiohttp.ClientResponse) -> tuple[Metadata, Metadata]:
    """The headers of a unary answer, and the trailers among them."""
    headers, trailers = Metadata(), Metadata()
    prefix = protocol.TRAILER_PREFIX
    for name, value in response.headers.items():
        if name[: len(prefix)].lower() == prefix:
            trailers.add(name[len(prefix) :], value)
        else:
            headers.add(name, value)
    return headers, trailers


# -------------------------------------------------------------------------------- reading


def compression_of(
    response: aiohttp.ClientResponse, header: str, compressions: Compressions
) -> Compression | None:
    """The compression of an answer.

    Raises:
        InternalError: It is one that was not asked for.
    """
    try:
        return compressions.named(response.headers.get(header))
    except UnimplementedError as error:
        raise InternalError(f"the answer can't be read: {error}") from error


def check_content_type(response: aiohttp.ClientResponse, expected: str, prefix: str) -> None:
    """Checks that a good answer is what was asked for.

    Raises:
        RpcError: `internal` for another codec, `unknown` for something else entirely.
    """
    found = response.headers.get(hdrs.CONTENT_TYPE, "")
    if found == expected or found.partition(";")[0].strip().lower() == expected:
        return
    message = f"the answer of {response.url} has the content type {found!r} instead of {expected!r}"
    if found.startswith(prefix):
        raise InternalError(message, http_status=response.status)
    raise RpcError.of(
        protocol.code_of_status(response.status),
        f"{message}: is this the address of a server for these calls?",
        http_status=response.status,
    )


# ------------------------------------------------------------------------------- failures


async def failure(
    response: aiohttp.ClientResponse, compressions: Compressions
) -> RpcError | AttemptError:
    """What an answer with an HTTP status other than 200 means."""
    content_type = response.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    body = b""
    try:
        body = await read_body(response, _FOREIGN_BYTES)
        compression = compression_of(response, hdrs.CONTENT_ENCODING, compressions)
        if compression is not None and body:
            body = compression.decompress(body, _FOREIGN_BYTES)
    except (RpcError, ValueError):
        content_type = ""  # too long or broken: the status must do
        response.close()
    error: RpcError | None = None
    if content_type == "application/json":
        headers, trailers = split_metadata(response)
        both = Metadata([*headers.pairs(), *trailers.pairs()])
        error = protocol.error_from_json(body, response.status, both)
    if error is None:
        error = _foreign(response, body)
    if isinstance(error, UnavailableError):
        return AttemptError(error, retry_after=_retry_after(response))
    if isinstance(error, ResourceExhaustedError) and (
        wait := _retry_after(response) or requested_delay(error)
    ):
        return AttemptError(error, retry_after=wait)
    return error


def _foreign(response: aiohttp.ClientResponse, body: bytes) -> RpcError:
    """The error for an answer of a proxy, or of a server that knows nothing of the protocol."""
    status = f"HTTP {response.status} {response.reason or ''}".rstrip()
    message = f"{response.url} answered {status}"
    location = response.headers.get(hdrs.LOCATION)
    if location is not None:
        message += f", a redirection to {location}: is that the address to use?"
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body.decode("utf-8", "replace"))
    text = " ".join(text.split())
    if text:
        shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
        message += f": {shown}"
    return RpcError.of(
        protocol.code_of_status(response.status),
        message,
        metadata=Metadata(response.headers.items()),
        http_status=response.status,
    )


def _retry_after(response: aiohttp.ClientResponse) -> float:
    value = response.headers.get(hdrs.RETRY_AFTER, "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def broken(error: Exception, base_url: str) -> RpcError | AttemptError:
    """What an exception of the HTTP client means."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        # Trying again does not make a certificate valid.
        return UnavailableError(f"no secure connection to {base_url}: {error}")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError):
        reason = error.strerror if isinstance(error, aiohttp.ClientConnectorError) else str(error)
        unreachable = UnavailableError(
            f"{base_url} can't be reached ({reason or error}): is the server running, and is the "
            "address right?"
        )
        return AttemptError(unreachable, nothing_sent=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        status = error.status
        message = f"the proxy on the way to {base_url} answered HTTP {status} {error.message}"
        return RpcError.of(protocol.code_of_status(status), message, http_status=status)
    if isinstance(error, aiohttp.ClientPayloadError):
        return AttemptError(
            UnavailableError(f"the connection to {base_url} broke in the middle of the answer")
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return UnknownError(f"{base_url} does not answer in HTTP: {error.message}")
    # Most often a connection that was kept and that the server has closed meanwhile.
    lost = UnavailableError(
        f"the connection to {base_url} broke before the answer; whether the call was done is not "
        f"known ({error or type(error).__name__})"
    )
    return AttemptError(lost, at_once=True)

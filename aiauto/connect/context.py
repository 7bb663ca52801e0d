"""What a server knows about a call while it answers it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiauto.connect import protocol
from aiauto.connect.errors import InvalidArgumentError
from aiauto.connect.metadata import Metadata

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["CallContext"]


class CallContext:
    """A call that is being answered: what methods and interceptors see of it.

    Attributes:
        method: Path of the method, for example `/acme.shop.v1.OrderService/GetOrder`.
        http_request: The request as aiohttp has it. Its body is the server's to read.
        deadline: Moment on the loop's clock at which the caller gives up, None for never.
    """

    # Of most calls nobody reads the headers, or sets any: they are made when they are asked for.
    __slots__ = (
        "_request_headers",
        "_response_headers",
        "_response_trailers",
        "deadline",
        "http_request",
        "method",
    )

    def __init__(self, method: str, http_request: web.Request) -> None:
        self.method: str = method
        self.http_request: web.Request = http_request
        self.deadline: float | None = None
        self._request_headers: Metadata | None = None
        self._response_headers: Metadata | None = None
        self._response_trailers: Metadata | None = None

    @property
    def request_headers(self) -> Metadata:
        """Headers of the request by lower-case name."""
        if self._request_headers is None:
            self._request_headers = Metadata(self.http_request.headers.items())
        return self._request_headers

    @property
    def response_headers(self) -> Metadata:
        """Headers to answer with; sent with the first message."""
        if self._response_headers is None:
            self._response_headers = Metadata()
        return self._response_headers

    @property
    def response_trailers(self) -> Metadata:
        """Trailers to answer with; sent after the last message."""
        if self._response_trailers is None:
            self._response_trailers = Metadata()
        return self._response_trailers

    @property
    def has_metadata(self) -> bool:
        """Whether there are any headers or trailers to answer with."""
        return bool(self._response_headers or self._response_trailers)

    @property
    def peer(self) -> str:
        """Address of the caller, empty where it is not known."""
        return self.http_request.remote or ""

    def deadline_left(self) -> float | None:
        """Seconds that the caller still waits, None for as long as it takes."""
        if self.deadline is None:
            return None
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    def read_protocol_headers(self) -> None:
        """Takes the deadline and checks the version.

        Raises:
            InvalidArgumentError: One of them can't be read.
        """
        headers = self.http_request.headers
        version = headers.get("connect-protocol-version")
        if version is not None and version != protocol.PROTOCOL_VERSION:
            raise InvalidArgumentError(
                f"the header connect-protocol-version is {version!r}; this server speaks version "
                f"{protocol.PROTOCOL_VERSION}"
            )
        timeout = headers.get("connect-timeout-ms")
        if timeout is not None:
            seconds = protocol.parse_timeout(timeout)
            self.deadline = asyncio.get_running_loop().time() + seconds

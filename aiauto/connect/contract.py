"""What the generated clients and servers of this package have in common.

A generated client turns a call into one call of a transport; a generated server lists its methods
for whoever mounts it. The protocols below are all that the two sides know about each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

import betterproto2

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, MutableMapping
    from types import TracebackType

    from typing_extensions import Self

__all__ = [
    "NOT_GIVEN",
    "AsyncStream",
    "AsyncTransport",
    "BoundMethod",
    "Context",
    "Headers",
    "Idempotency",
    "Method",
    "NotGiven",
    "Stream",
    "StreamKind",
    "SyncTransport",
    "Timeout",
    "not_implemented",
]

RequestT = TypeVar("RequestT", bound=betterproto2.Message)
ResponseT = TypeVar("ResponseT", bound=betterproto2.Message)
MessageT_co = TypeVar("MessageT_co", bound=betterproto2.Message, covariant=True)

NotGiven: TypeAlias = EllipsisType
"""Type of `NOT_GIVEN`."""

NOT_GIVEN: Final = ...
"""Stands for "as the transport was told" where `None` already means "no limit"."""


Timeout: TypeAlias = float | NotGiven | None
"""Seconds that a call may take, retries included. `None`: as long as it takes."""

Headers: TypeAlias = Mapping[str, str] | None
"""Headers that a call sends besides the transport's."""


class Idempotency(str, Enum):
    """What happens when a call is sent twice: the `idempotency_level` of a method."""

    UNKNOWN = "unknown"
    """It may be done twice."""
    NO_SIDE_EFFECTS = "no_side_effects"
    """Nothing: it only reads."""
    IDEMPOTENT = "idempotent"
    """The same as when it is sent once."""


class StreamKind(str, Enum):
    """Which sides of a method send any number of messages rather than one."""

    UNARY = "unary"
    CLIENT_STREAM = "client_stream"
    SERVER_STREAM = "server_stream"
    BIDI_STREAM = "bidi_stream"


@dataclass(frozen=True, eq=False)
class Method(Generic[RequestT, ResponseT]):
    """One method of a service.

    Attributes:
        service: Full name of the service, for example `acme.shop.v1.OrderService`.
        name: Name of the method as in the schema, for example `GetOrder`.
        request_type: Class of a request message.
        response_type: Class of a response message.
        kind: Which sides stream.
        idempotency: What the schema says about sending a call twice.
        request_id: Whether the request has a string field `request_id`, by which a server tells a
            call that is sent again from a new one.
        path: Path of the method below the server's address.
    """

    service: str
    name: str
    request_type: type[RequestT]
    response_type: type[ResponseT]
    kind: StreamKind = StreamKind.UNARY
    idempotency: Idempotency = Idempotency.UNKNOWN
    request_id: bool = False
    path: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", f"/{self.service}/{self.name}")


class AsyncStream(Protocol[MessageT_co]):
    """Messages of an answer as they come.

    Iterate over it once. Leave it early with `async with`, or by `aclose`: both end the call.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the answer by lower-case name; empty until it begins."""
        ...

    @property
    def trailers(self) -> Mapping[str, str]:
        """Trailers of the answer by lower-case name; empty until it ends."""
        ...

    def __aiter__(self) -> AsyncIterator[MessageT_co]: ...
    async def __anext__(self) -> MessageT_co: ...
    async def aclose(self) -> None:
        """Ends the call. Does nothing where it has ended."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


class Stream(Protocol[MessageT_co]):
    """Messages of an answer as they come.

    Iterate over it once. Leave it early with `with`, or by `close`: both end the call.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the answer by lower-case name; empty until it begins."""
        ...

    @property
    def trailers(self) -> Mapping[str, str]:
        """Trailers of the answer by lower-case name; empty until it ends."""
        ...

    def __iter__(self) -> Iterator[MessageT_co]: ...
    def __next__(self) -> MessageT_co: ...
    def close(self) -> None:
        """Ends the call. Does nothing where it has ended."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


class AsyncTransport(Protocol):
    """Carries the calls of an asynchronous client, for example `aiauto.connect.Transport`."""

    async def unary(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends one message and answers with one."""
        ...

    def server_stream(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> AsyncStream[ResponseT]:
        """Sends one message and answers with any number."""
        ...

    async def client_stream(
        self,
        method: Method[RequestT, ResponseT],
        requests: AsyncIterable[RequestT] | Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends any number of messages and answers with one."""
        ...

    def bidi_stream(
        self,
        method: Method[RequestT, ResponseT],
        requests: AsyncIterable[RequestT] | Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> AsyncStream[ResponseT]:
        """Sends any number of messages and answers with any number."""
        ...


class SyncTransport(Protocol):
    """Carries the calls of a blocking client, for example `aiauto.connect.SyncTransport`."""

    def unary(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends one message and answers with one."""
        ...

    def server_stream(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> Stream[ResponseT]:
        """Sends one message and answers with any number."""
        ...

    def client_stream(
        self,
        method: Method[RequestT, ResponseT],
        requests: Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Sends any number of messages and answers with one."""
        ...

    def bidi_stream(
        self,
        method: Method[RequestT, ResponseT],
        requests: Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> Stream[ResponseT]:
        """Sends any number of messages and answers with any number."""
        ...


class Context(Protocol):
    """What the server tells a method about the call that it answers."""

    @property
    def method(self) -> str:
        """Path of the method, for example `/acme.shop.v1.OrderService/GetOrder`."""
        ...

    @property
    def peer(self) -> str:
        """Address of the caller, empty where it is not known."""
        ...

    @property
    def request_headers(self) -> Mapping[str, str]:
        """Headers of the request by lower-case name."""
        ...

    @property
    def response_headers(self) -> MutableMapping[str, str]:
        """Headers to answer with. They are sent with the first message."""
        ...

    @property
    def response_trailers(self) -> MutableMapping[str, str]:
        """Trailers to answer with. They are sent after the last message."""
        ...

    def deadline_left(self) -> float | None:
        """Seconds that the caller still waits, or None where it set no limit."""
        ...


@dataclass(frozen=True, eq=False)
class BoundMethod:
    """A method of a service, and the function that answers it.

    Attributes:
        method: The method.
        handler: Takes a request message (an asynchronous iterator of them where the client
            streams) and a `Context`. Answers with a response message, or is an asynchronous
            generator of them where the server streams.
    """

    method: Method[Any, Any]
    handler: Callable[[Any, Any], Any]


def not_implemented(method: Method[Any, Any]) -> NotImplementedError:
    """What a method raises that a service does not override. Callers get `unimplemented`."""
    return NotImplementedError(f"{method.path} is not implemented by this server")

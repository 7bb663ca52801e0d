"""What the runtime needs to know of a generated method.

Every generated tree has classes of its own, so they are described here by their shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import betterproto2

from aiauto.connect.contract import Idempotency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BoundMethodInfo", "MethodInfo", "ServiceInfo", "is_repeatable"]

RequestT_co = TypeVar("RequestT_co", bound=betterproto2.Message, covariant=True)
ResponseT_co = TypeVar("ResponseT_co", bound=betterproto2.Message, covariant=True)


class MethodInfo(Protocol[RequestT_co, ResponseT_co]):
    """A generated `Method`."""

    # ruff: noqa: D102 - the generated class tells what they are

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def idempotency(self) -> str: ...
    @property
    def request_id(self) -> bool: ...
    @property
    def request_type(self) -> type[RequestT_co]: ...
    @property
    def response_type(self) -> type[ResponseT_co]: ...


class BoundMethodInfo(Protocol):
    """A generated `BoundMethod`."""

    @property
    def method(self) -> MethodInfo[betterproto2.Message, betterproto2.Message]: ...
    @property
    def handler(self) -> Callable[[Any, Any], Any]: ...


class ServiceInfo(Protocol):
    """An instance of a generated server class, such as `OrderServiceBase`."""

    def __bound_methods__(self) -> Sequence[BoundMethodInfo]: ...


def is_repeatable(
    method: MethodInfo[betterproto2.Message, betterproto2.Message],
    request: betterproto2.Message | None,
) -> bool:
    """Whether a call may be sent again though it may have been done already."""
    if method.idempotency != Idempotency.UNKNOWN:
        return True
    # The server knows a request id again, and does the call once.
    return method.request_id and bool(getattr(request, "request_id", ""))

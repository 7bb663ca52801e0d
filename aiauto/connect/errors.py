"""What a call can end with instead of an answer: one class for every code of the protocol.

::

    AIAutoError                      root of all that this package raises on purpose
    └── RpcError                     a call failed
        ├── AbortedError
        ├── AlreadyExistsError
        ├── CanceledError
        ├── DataLossError
        ├── DeadlineExceededError      (also a TimeoutError)
        ├── FailedPreconditionError
        ├── InternalError
        ├── InvalidArgumentError       (also a ValueError)
        ├── NotFoundError
        ├── OutOfRangeError
        ├── PermissionDeniedError      (also a PermissionError)
        ├── ResourceExhaustedError
        ├── UnauthenticatedError       (also a PermissionError)
        ├── UnavailableError           (also a ConnectionError)
        ├── UnimplementedError
        └── UnknownError

A server's method raises one of them, and the same class with the same code, message and details
arrives at the caller. All of them survive `pickle`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, TypeVar

import betterproto2

from aiauto.connect.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AIAutoError",
    "AbortedError",
    "AlreadyExistsError",
    "CanceledError",
    "Code",
    "DataLossError",
    "DeadlineExceededError",
    "ErrorDetail",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "RpcError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)


class Code(str, Enum):
    """Category of an error, as it travels."""

    CANCELED = "canceled"
    UNKNOWN = "unknown"
    INVALID_ARGUMENT = "invalid_argument"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    PERMISSION_DENIED = "permission_denied"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    FAILED_PRECONDITION = "failed_precondition"
    ABORTED = "aborted"
    OUT_OF_RANGE = "out_of_range"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    DATA_LOSS = "data_loss"
    UNAUTHENTICATED = "unauthenticated"


@dataclass(frozen=True)
class ErrorDetail:
    """A message that an error carries, for programs.

    Attributes:
        type_name: Full name of the message's type, for example `google.rpc.RetryInfo`.
        value: The message, encoded.
        debug: The message as JSON has it, for people who read the wire; may be missing.
    """

    type_name: str
    value: bytes
    debug: object = field(default=None, compare=False)

    @classmethod
    def pack(cls, message: betterproto2.Message) -> ErrorDetail:
        """Makes a detail of a generated message."""
        return cls(_full_name(type(message)), bytes(message), message.to_dict())

    def unpack(self, message_type: type[MessageT]) -> MessageT | None:
        """The message, or None where the detail is of another type."""
        if self.type_name != _full_name(message_type):
            return None
        return message_type.parse(self.value)


def _full_name(message_type: type[betterproto2.Message]) -> str:
    """Full name of a message in its schema: the modules of generated messages register it."""
    pool: betterproto2.MessagePool = sys.modules[message_type.__module__].default_message_pool
    return pool.type_to_url[message_type].rpartition("/")[2]


class AIAutoError(Exception):
    """Root of all that this package raises on purpose."""


class RpcError(AIAutoError):
    """A call failed.

    Args:
        message: What happened and what to do, for people.
        details: Messages for programs: generated messages, or details as they came.
        metadata: Headers and trailers that came with the error. A server does not send them:
            its methods have a context for that.
        http_status: HTTP status of an answer that is none of the protocol, for example a proxy's.

    Attributes:
        code: Its category. Each subclass has its own.
        message: As above.
        details: As above, packed.
        metadata: As above.
        http_status: As above; None for an answer of the protocol.
    """

    code: ClassVar[Code] = Code.UNKNOWN

    message: str
    details: tuple[ErrorDetail, ...]
    metadata: Metadata
    http_status: int | None

    # The message is the only positional argument, so pickle's own way does: it calls the class
    # with `args` and then restores `__dict__`, notes included.
    def __init__(
        self,
        message: str = "",
        /,
        *,
        details: Iterable[ErrorDetail | betterproto2.Message] = (),
        metadata: Metadata | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(
            detail if isinstance(detail, ErrorDetail) else ErrorDetail.pack(detail)
            for detail in details
        )
        self.metadata = Metadata() if metadata is None else metadata
        self.http_status = http_status

    def __str__(self) -> str:
        return self.message or self.code.value

    def detail(self, message_type: type[MessageT]) -> MessageT | None:
        """The first detail of a type, or None."""
        for one in self.details:
            found = one.unpack(message_type)
            if found is not None:
                return found
        return None

    @staticmethod
    def of(
        code: Code,
        message: str = "",
        *,
        details: Iterable[ErrorDetail | betterproto2.Message] = (),
        metadata: Metadata | None = None,
        http_status: int | None = None,
    ) -> RpcError:
        """Makes the error of the class that a code has."""
        return _CLASSES[code](message, details=details, metadata=metadata, http_status=http_status)


class CanceledError(RpcError):
    """The call was given up, most often by its caller."""

    code = Code.CANCELED


class UnknownError(RpcError):
    """Something failed, and nobody knows what."""

    code = Code.UNKNOWN


class InvalidArgumentError(RpcError, ValueError):
    """The request can't be right, whatever the server's state."""

    code = Code.INVALID_ARGUMENT


class DeadlineExceededError(RpcError, TimeoutError):
    """The call took longer than its timeout."""

    code = Code.DEADLINE_EXCEEDED


class NotFoundError(RpcError):
    """What the request names does not exist."""

    code = Code.NOT_FOUND


class AlreadyExistsError(RpcError):
    """What the request shall make exists, and is something else."""

    code = Code.ALREADY_EXISTS


class PermissionDeniedError(RpcError, PermissionError):
    """The caller is known and may not do this."""

    code = Code.PERMISSION_DENIED


class ResourceExhaustedError(RpcError):
    """A limit or quota is reached."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPreconditionError(RpcError):
    """The server's state does not allow it; something must be done first."""

    code = Code.FAILED_PRECONDITION


class AbortedError(RpcError):
    """Somebody else was in the way; start again from reading."""

    code = Code.ABORTED


class OutOfRangeError(RpcError):
    """The request goes past an end."""

    code = Code.OUT_OF_RANGE


class UnimplementedError(RpcError):
    """The server does not have this method or feature."""

    code = Code.UNIMPLEMENTED


class InternalError(RpcError):
    """Something that must not happen did, in the server or on the way."""

    code = Code.INTERNAL


class UnavailableError(RpcError, ConnectionError):
    """The server can't be reached or can't serve now; trying again later may help."""

    code = Code.UNAVAILABLE


class DataLossError(RpcError):
    """Data is lost or damaged for good."""

    code = Code.DATA_LOSS


class UnauthenticatedError(RpcError, PermissionError):
    """The server does not know the caller: the token is missing, wrong or no longer valid."""

    code = Code.UNAUTHENTICATED


_CLASSES: dict[Code, type[RpcError]] = {one.code: one for one in RpcError.__subclasses__()}

"""Everything that aiauto raises on purpose.

::

    AIAutoError
    ├── ArgumentError                  an argument can't be right; nothing has run yet
    │   ├── ArgumentValueError           (also a ValueError)
    │   ├── ArgumentTypeError            (also a TypeError)
    │   └── ArgumentFileNotFoundError    (also a FileNotFoundError)
    ├── ObjectiveError                 a worker can't load the objective (RuntimeError)
    ├── NoTrialBatchError              there is no batch to wait for (RuntimeError)
    ├── ServerStartError               the embedded server did not start (RuntimeError)
    ├── TrialBatchFailedError          a batch ended without one usable trial (RuntimeError)
    ├── WaitTimeoutError               the wait ended before the trials did (TimeoutError and, as in
    │                                  the released client, RuntimeError)
    └── RpcError                       what the server answered; also known as AIAutoRpcError
        ├── AbortedError
        ├── AlreadyExistsError
        ├── CanceledError
        ├── DataLossError
        ├── DeadlineExceededError        (also a TimeoutError)
        ├── FailedPreconditionError
        ├── InternalError
        ├── InvalidArgumentError         (also a ValueError)
        ├── NotFoundError
        ├── OutOfRangeError
        ├── PermissionDeniedError        (also a PermissionError)
        ├── ResourceExhaustedError
        ├── UnauthenticatedError         (also a PermissionError)
        ├── UnavailableError             (also a ConnectionError)
        ├── UnimplementedError
        └── UnknownError

Every one of them survives ``pickle``, so it can cross processes with all that it carries.
"""

from __future__ import annotations

import errno

from aiauto.connect.errors import (
    AbortedError,
    AIAutoError,
    AlreadyExistsError,
    CanceledError,
    Code,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    RpcError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)

__all__ = [
    "AIAutoError",
    "AIAutoRpcError",
    "AbortedError",
    "AlreadyExistsError",
    "ArgumentError",
    "ArgumentFileNotFoundError",
    "ArgumentTypeError",
    "ArgumentValueError",
    "CanceledError",
    "Code",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NoTrialBatchError",
    "NotFoundError",
    "ObjectiveError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "RpcError",
    "ServerStartError",
    "TrialBatchFailedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "WaitTimeoutError",
]

AIAutoRpcError = RpcError
"""The name that the released client gave to `RpcError`."""

# The exceptions below keep what they carry in `__dict__` and give it a default in the constructor:
# so the exception's own pickling, which calls the class with `args` and then restores `__dict__`,
# is enough.


class ArgumentError(AIAutoError):
    """An argument can't be right. Raised before anything runs.

    Attributes:
        argument: Name of the argument, for example ``n_trials``.
    """

    argument: str

    def __init__(self, message: str, *, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


class ArgumentValueError(ArgumentError, ValueError):
    """An argument has the right type and an impossible value."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has the wrong type."""


class ArgumentFileNotFoundError(ArgumentError, FileNotFoundError):
    """An argument names a file that does not exist.

    Attributes:
        path: The path as it was given.
    """

    path: str
    errno: int | None

    def __init__(self, message: str, *, argument: str = "", path: str = "") -> None:
        super().__init__(message, argument=argument)
        self.path = path
        self.errno = errno.ENOENT


class ObjectiveError(AIAutoError, RuntimeError):
    """A worker can't load the objective. Raised before it runs a trial."""


class ServerStartError(AIAutoError, RuntimeError):
    """The embedded server did not start. The text ends with the last lines of its log."""


class NoTrialBatchError(AIAutoError, RuntimeError):
    """The study has no batch to wait for."""


class TrialBatchFailedError(AIAutoError, RuntimeError):
    """A batch ended without one usable trial, or could not start.

    The text holds the newest error of the batch, with the traceback from the worker.

    Attributes:
        trialbatch_name: Name of the batch.
        last_error: The newest error of the batch, as `StudyWrapper.get_status` tells it.
    """

    trialbatch_name: str
    last_error: str

    def __init__(self, message: str, *, trialbatch_name: str = "", last_error: str = "") -> None:
        super().__init__(message)
        self.trialbatch_name = trialbatch_name
        self.last_error = last_error


class WaitTimeoutError(AIAutoError, TimeoutError, RuntimeError):
    """The wait ended before the trials did. The batch runs on.

    Attributes:
        trialbatch_name: Name of the batch.
    """

    trialbatch_name: str

    def __init__(self, message: str, *, trialbatch_name: str = "") -> None:
        super().__init__(message)
        self.trialbatch_name = trialbatch_name

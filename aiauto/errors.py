"""Everything that aiauto raises on purpose.

::

    AIAutoError
    ├── ArgumentError                  an argument can't be right; nothing has run yet
    │   ├── ArgumentValueError           (also a ValueError)
    │   ├── ArgumentTypeError            (also a TypeError)
    │   ├── ArgumentFileExistsError      (also a FileExistsError)
    │   └── ArgumentFileNotFoundError    (also a FileNotFoundError)
    ├── ObjectiveError                 a worker can't load the objective (RuntimeError)
    ├── NoTrialBatchError              there is no batch to wait for (RuntimeError)
    ├── SearchSpaceExhausted           every combination has been given to a trial (RuntimeError)
    ├── ServerStartError               the embedded server did not start (RuntimeError)
    ├── TrialBatchFailedError          a batch ended without one usable trial (RuntimeError)
    ├── UploadFailedError              a file can't be uploaded (RuntimeError)
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
    "ArgumentFileExistsError",
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
    "SearchSpaceExhausted",
    "ServerStartError",
    "TrialBatchFailedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UploadFailedError",
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


class ArgumentFileExistsError(ArgumentError, FileExistsError):
    """An argument names a file to write that exists already.

    Attributes:
        path: The path as it was given.
    """

    path: str
    errno: int | None

    def __init__(self, message: str, *, argument: str = "", path: str = "") -> None:
        super().__init__(message, argument=argument)
        self.path = path
        self.errno = errno.EEXIST


class ObjectiveError(AIAutoError, RuntimeError):
    """A worker can't load the objective. Raised before it runs a trial."""


class ServerStartError(AIAutoError, RuntimeError):
    """The embedded server did not start. The text says why, or ends with its log."""


class SearchSpaceExhausted(AIAutoError, RuntimeError):  # noqa: N818 - the released client's name
    """Every combination has been given to a trial: `ExhaustiveCategoricalSampler` has no more."""


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


class UploadFailedError(AIAutoError, RuntimeError):
    """A file can't be uploaded: the server refuses it. Its words are in the text and the cause.

    Attributes:
        path: The file.
    """

    path: str

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class WaitTimeoutError(AIAutoError, TimeoutError, RuntimeError):
    """The wait ended before the trials did. The batch runs on.

    Attributes:
        trialbatch_name: Name of the batch.
    """

    trialbatch_name: str

    def __init__(self, message: str, *, trialbatch_name: str = "") -> None:
        super().__init__(message)
        self.trialbatch_name = trialbatch_name

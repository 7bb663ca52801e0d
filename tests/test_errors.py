"""What aiauto raises: one family, friends of the builtins, and able to travel."""

from __future__ import annotations

import copy
import errno
import pickle
import re

import pytest

from aiauto import errors


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


PUBLIC = {name: getattr(errors, name) for name in errors.__all__ if name != "Code"}
EVERY = sorted(subclasses(errors.AIAutoError), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_travels(kind: type[errors.AIAutoError]) -> None:
    error = kind("what happened, and what to do")
    error.__dict__.update(extra={"kept": 1}, __notes__=["a note"])
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(copied) is kind
        assert str(copied) == "what happened, and what to do"
        assert copied.__dict__ == error.__dict__
        assert copied.args == error.args


def test_what_an_error_carries_travels() -> None:
    failed = errors.TrialBatchFailedError("all failed", trialbatch_name="b", last_error="boom")
    missing = errors.ArgumentFileNotFoundError("none", argument="requirements_file", path="r.txt")
    for error in (failed, missing):
        assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__
    assert failed.trialbatch_name == "b"
    assert failed.last_error == "boom"
    assert pickle.loads(pickle.dumps(missing)).errno == errno.ENOENT


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ArgumentValueError, ValueError),
        (errors.ArgumentTypeError, TypeError),
        (errors.ArgumentFileNotFoundError, FileNotFoundError),
        (errors.ArgumentFileExistsError, FileExistsError),
        (errors.InvalidArgumentError, ValueError),
        (errors.DeadlineExceededError, TimeoutError),
        (errors.UnavailableError, ConnectionError),
        (errors.PermissionDeniedError, PermissionError),
        (errors.UnauthenticatedError, PermissionError),
        (errors.NoTrialBatchError, RuntimeError),
        (errors.ServerStartError, RuntimeError),
        (errors.TrialBatchFailedError, RuntimeError),
        (errors.UploadFailedError, RuntimeError),
        (errors.WaitTimeoutError, TimeoutError),
        (errors.WaitTimeoutError, RuntimeError),
    ],
)
def test_errors_are_what_people_expect(kind: type[Exception], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="as a builtin"):
        raise kind("as a builtin")
    with pytest.raises(errors.AIAutoError):
        raise kind("as ours")


def test_the_released_name_of_rpc_errors_is_kept() -> None:
    assert errors.AIAutoRpcError is errors.RpcError
    # The released client told the code by text.
    assert errors.UnavailableError("gone").code == "unavailable"


def test_the_drawing_shows_every_error_where_it_stands() -> None:
    drawn: dict[str, int] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([ │├└─]*)(\w+)(?: {2,}|$)", line):
            drawn[match[2]] = (len(match[1]) - 4) // 4

    def depth(kind: type[Exception]) -> int:
        ours = [base for base in kind.__mro__ if issubclass(base, errors.AIAutoError)]
        return len(ours) - 1

    assert drawn == {name: depth(kind) for name, kind in PUBLIC.items() if name != "AIAutoRpcError"}

"""The exceptions, and the way that they travel."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
from aiauto_gen.aiauto.v1 import LogLine

from aiauto import connect

BUILTIN: dict[type[connect.RpcError], type[Exception]] = {
    connect.DeadlineExceededError: TimeoutError,
    connect.InvalidArgumentError: ValueError,
    connect.PermissionDeniedError: PermissionError,
    connect.UnauthenticatedError: PermissionError,
    connect.UnavailableError: ConnectionError,
}


@pytest.mark.parametrize("code", connect.Code)
def test_one_class_for_every_code(code: connect.Code) -> None:
    error = connect.RpcError.of(code, "so it is")
    assert isinstance(error, connect.AIAutoError)
    assert error.code is code
    assert type(error).__name__ == code.value.title().replace("_", "") + "Error"
    assert getattr(connect, type(error).__name__) is type(error)
    expected = BUILTIN.get(type(error))
    for builtin in {*BUILTIN.values()}:
        inherits = isinstance(error, builtin)
        assert inherits == (expected is not None and issubclass(expected, builtin))
    assert str(error) == "so it is"
    assert str(type(error)()) == code.value


@pytest.mark.parametrize("code", connect.Code)
def test_pickle_and_copy(code: connect.Code) -> None:
    error = connect.RpcError.of(
        code,
        "so it is",
        details=[LogLine(text="a"), connect.ErrorDetail("x.Y", b"\1")],
        metadata=connect.Metadata([("x-cost", "3"), ("x-cost", "4")]),
        http_status=502,
    )
    error.__dict__["__notes__"] = ["a note"]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for found in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
            assert type(found) is type(error)
            assert found.args == error.args
            assert found.__dict__ == error.__dict__
    assert error.metadata.get_all("X-Cost") == ["3", "4"]


def test_details() -> None:
    error = connect.NotFoundError("no", details=[LogLine(text="a"), LogLine(text="b")])
    assert error.details[0].type_name == "aiauto.v1.LogLine"
    assert error.detail(LogLine) == LogLine(text="a")
    assert connect.ErrorDetail("other.Type", b"").unpack(LogLine) is None


def test_metadata() -> None:
    metadata = connect.Metadata([("A", "1"), ("a", "2"), ("b", "3")])
    assert metadata["a"] == "1, 2"
    assert dict(metadata) == {"a": "1, 2", "b": "3"}
    assert "A" in metadata
    number: Any = 5
    assert number not in metadata
    metadata["A"] = "9"
    assert list(metadata.pairs()) == [("a", "9"), ("b", "3")]
    del metadata["a"]
    assert metadata == {"b": "3"}
    assert repr(metadata) == "Metadata({'b': '3'})"
    with pytest.raises(KeyError):
        metadata["a"]


def test_all_names_are_there() -> None:
    assert connect.__all__ == sorted(connect.__all__, key=lambda name: (not name.isupper(), name))
    for name in connect.__all__:
        assert getattr(connect, name) is not None
    assert set(connect.__all__) <= set(dir(connect))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(connect, "Nothing")  # noqa: B009 - checkers know that there is none


def test_errors_cost_no_aiohttp() -> None:
    program = "import sys, aiauto.connect.errors; sys.exit('aiohttp' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)

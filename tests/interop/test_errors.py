"""Errors: what a server raises is what a client gets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from aiauto import connect
from tests.interop.calls import METHODS, Call, Json
from tests.interop.test_kinds import refuses_bidi

if TYPE_CHECKING:
    from tests.interop import ours
    from tests.interop.calls import Client
    from tests.interop.conftest import Pair

pytestmark = [pytest.mark.xdist_group("interop"), pytest.mark.once]

CODES = [code.value for code in connect.Code]
MESSAGE = 'not "so" \u00fc\U0001f600\n\\ <b> %41'


def failing(code: str, **also: object) -> Json:
    detail = {"text": "why \u00fc", "number": "-9223372036854775808"}
    return {"failure": {"code": code, "message": MESSAGE, "detail": detail}, **also}


def detail_of(code: ours.Code) -> dict[str, str]:
    detail = code.messages.Detail(text="why \u00fc", number=-(2**63))
    return {"type_name": "interop.v1.Detail", "value": bytes(detail).hex()}


def test_all_codes_are_here() -> None:
    assert len(CODES) == 16


@pytest.mark.parametrize("error_code", CODES)
def test_unary(pair: Pair, code: ours.Code, error_code: str) -> None:
    failure = pair.call(Call("unary", [failing(error_code)])).failure
    assert (failure.code, failure.message) == (error_code, MESSAGE)
    assert failure.details == [detail_of(code)]


@pytest.mark.parametrize("error_code", CODES)
def test_after_messages(pair: Pair, code: ours.Code, error_code: str) -> None:
    report = pair.call(Call("server_stream", [failing(error_code, repeat=2)], codec="json"))
    assert [one.get("index", 0) for one in report.responses] == [0, 1]
    failure = report.failure
    assert (failure.code, failure.message) == (error_code, MESSAGE)
    assert failure.details == [detail_of(code)]


@pytest.mark.parametrize("method", METHODS)
def test_every_kind(pair: Pair, code: ours.Code, method: str, codec: str, compression: str) -> None:
    # Large enough to be compressed where the other side takes it.
    message = MESSAGE * 200
    request = failing("failed_precondition")
    request["failure"]["message"] = message
    call = Call(method, [request], codec=codec, compression=compression, get=method == "get")
    if refuses_bidi(pair, call):
        return
    failure = pair.call(call).failure
    assert (failure.code, failure.message) == ("failed_precondition", message)
    assert failure.details == [detail_of(code)]
    assert failure.metadata["x-interop-header"] == "asked"
    assert failure.metadata["x-interop-trailer"] == "one, two"


def test_nothing_but_a_code(pair: Pair, codec: str) -> None:
    request: Json = {"failure": {"code": "aborted", "detail": {}}}
    failure = pair.call(Call("unary", [request], codec=codec)).failure
    assert (failure.code, failure.message) == ("aborted", "")
    assert failure.details == [{"type_name": "interop.v1.Detail", "value": ""}]


def test_a_method_that_is_not_there(pair: Pair, codec: str) -> None:
    assert pair.call(Call("missing", codec=codec)).failure.code == "unimplemented"


@pytest.mark.parametrize("method", METHODS)
def test_the_server_is_told_the_timeout(pair: Pair, method: str) -> None:
    call = Call(method, [{"repeat": 1}], timeout_ms=20_000)
    if refuses_bidi(pair, call):
        return
    assert 0 < pair.call(call).only["seen"]["timeoutMs"] <= 20_000
    none = Call(method, [{"repeat": 1}])
    assert "timeoutMs" not in pair.call(none).only["seen"]


@pytest.mark.parametrize("method", METHODS)
def test_deadline(pair: Pair, method: str) -> None:
    call = Call(method, [{"sleepMs": 20_000, "repeat": 1}], timeout_ms=300)
    if refuses_bidi(pair, call):
        return
    start = time.monotonic()
    report = pair.call(call)
    assert report.failure.code == "deadline_exceeded"
    assert report.responses == []
    assert 0.2 < time.monotonic() - start < 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("client", ["python_client", "node_client"])
def test_our_server_keeps_the_deadline(
    request: pytest.FixtureRequest, our_server: str, client: str, method: str
) -> None:
    # The client itself knows of no deadline: it would wait.
    headers = {"x-interop-ask": "asked", "connect-timeout-ms": "300"}
    call = Call(method, [{"sleepMs": 20_000, "repeat": 1}], headers=headers)
    caller: Client = request.getfixturevalue(client)
    start = time.monotonic()
    assert caller.call(our_server, call).failure.code == "deadline_exceeded"
    assert 0.2 < time.monotonic() - start < 10

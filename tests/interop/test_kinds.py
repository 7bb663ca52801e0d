"""Every kind of method, in every form that a call has on the wire."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.calls import METHODS, Call, Json

if TYPE_CHECKING:
    from tests.interop.calls import Client
    from tests.interop.conftest import Pair

pytestmark = [pytest.mark.xdist_group("interop"), pytest.mark.once]

# Every implementation finds a message of this size worth compressing.
TEXT = "so much text that it is worth compressing; " * 100


def requests_of(method: str, count: int) -> list[Json]:
    """Requests that are answered with as many responses as the method may give."""
    texts = [f"{number} {TEXT}" for number in range(count)]
    if method in {"client_stream", "bidi"}:
        return [{"values": {"text": text}} for text in texts]
    return [{"values": {"text": texts[0]}, "repeat": count}]


def responses_of(call: Call) -> list[Json]:
    """The responses that a call must get, in order."""
    values = [one.get("values") for one in call.requests]
    if call.method == "server_stream":
        numbers = [(index, 1) for index in range(call.requests[0].get("repeat", 0))]
        values = values * len(numbers)
    elif call.method == "client_stream":
        numbers = [(0, len(values))]
        values = values[-1:]
    else:
        numbers = [(index, index + 1) for index in range(len(values))]
    seen: Json = {"httpMethod": "GET" if call.get else "POST", "codec": call.codec}
    seen |= {"asked": call.headers["x-interop-ask"]}
    if call.compression == "gzip":
        seen["compression"] = "gzip"
    found: list[Json] = []
    for value, (index, requests) in zip(values, numbers, strict=True):
        one: Json = {"values": value, "seen": {**seen, "requests": requests}}
        found.append({**one, "index": index} if index else one)
    return found


def without_json(responses: list[Json]) -> list[Json]:
    """Responses without what the server says of the values, which another test looks at."""
    for response in responses:
        assert response["seen"].pop("valuesJson")
    return responses


def refuses_bidi(pair: Pair, call: Call) -> bool:
    """Whether the server refuses the call, in which case the refusal is looked at.

    That of Node.js serves it with HTTP/2 only, and says so as HTTP does. It hangs up without
    reading the request: only of a short one is it sure that all is sent before.
    """
    if call.method != "bidi" or pair.server != "node_server":
        return False
    failure = pair.call(dataclasses.replace(call, requests=[{}])).failure
    assert failure.code == "unknown"
    assert "HTTP 505" in failure.message
    return True


@pytest.mark.parametrize("method", METHODS)
def test_every_kind(pair: Pair, method: str, codec: str, compression: str) -> None:
    call = Call(method, requests_of(method, 3), codec=codec, compression=compression)
    if refuses_bidi(pair, call):
        return
    report = pair.call(call)
    assert report.error is None
    assert without_json(report.responses) == responses_of(call)
    is_stream = method not in {"unary", "get"}
    prefix = "application/connect+" if is_stream else "application/"
    assert report.headers["content-type"] == prefix + codec
    encoding = report.headers.get("connect-content-encoding" if is_stream else "content-encoding")
    if pair.client == "python_client" and not is_stream:
        encoding = report.headers["x-interop-encoding"]
    assert encoding == "gzip" if compression == "gzip" else encoding in {None, "identity"}


def test_get(pair: Pair, codec: str, compression: str) -> None:
    # Characters that mean something else in a query, or in base64 of either alphabet.
    text = "a+b/c?d=e&f%20#g ü😀~~~\xff\xfe" * 2
    requests = [{"values": {"text": text, "data": "+/+/"}}]
    call = Call("get", requests, codec=codec, compression=compression, get=True)
    assert without_json([pair.call(call).only]) == responses_of(call)


def test_get_only_where_there_are_no_side_effects(pair: Pair, codec: str) -> None:
    report = pair.call(Call("unary", codec=codec, get=True))
    assert report.only["seen"]["httpMethod"] == "POST"


@pytest.mark.parametrize("method", METHODS)
def test_metadata(pair: Pair, method: str, codec: str) -> None:
    asked = 'a, b; c="d" %20 ~'
    headers = {"x-interop-ask": asked, "x-other-bin": "AAEC/+=="}
    call = Call(method, requests_of(method, 2), codec=codec, headers=headers)
    if refuses_bidi(pair, call):
        return
    report = pair.call(call)
    assert {one["seen"]["asked"] for one in report.responses} == {asked}
    assert report.headers["x-interop-header"] == asked
    assert report.trailers == {"x-interop-trailer": "one, two"}
    assert "x-interop-trailer" not in report.headers


@pytest.mark.parametrize("method", METHODS)
def test_empty_messages(pair: Pair, method: str, codec: str, compression: str) -> None:
    # Their binary form has no bytes at all: there is nothing to inflate.
    call = Call(
        method,
        [{"repeat": 1} if method == "server_stream" else {}],
        codec=codec,
        compression=compression,
    )
    if refuses_bidi(pair, call):
        return
    response = pair.call(call).only
    assert "values" not in response
    assert response["seen"]["requests"] == 1


def test_streams_of_nothing(pair: Pair, codec: str, compression: str) -> None:
    def call(method: str, requests: list[Json]) -> Any:
        return pair.call(Call(method, requests, codec=codec, compression=compression))

    report = call("server_stream", [{"repeat": 0}])
    assert (report.responses, report.error) == ([], None)
    assert report.headers["x-interop-header"] == "asked"
    assert report.trailers == {"x-interop-trailer": "one, two"}
    assert "requests" not in call("client_stream", []).only["seen"]
    if not refuses_bidi(pair, Call("bidi", [])):
        report = call("bidi", [])
        assert (report.responses, report.error) == ([], None)


@pytest.mark.parametrize("method", METHODS)
def test_large_messages(pair: Pair, method: str, codec: str, compression: str) -> None:
    text = "0123456789abcdef" * 80_000
    call = Call(
        method, [{"values": {"text": text}, "repeat": 1}], codec=codec, compression=compression
    )
    if refuses_bidi(pair, call):
        return
    assert pair.call(call).only["values"] == {"text": text}


@pytest.mark.parametrize("client", ["our_async_client", "our_sync_client"])
def test_a_refusal_while_the_request_is_sent(
    request: pytest.FixtureRequest, node_server: str, client: str
) -> None:
    # The server hangs up without reading. If that is noticed while writing, asyncio gives up the
    # connection with what was not read from it yet, so that the refusal itself may be lost.
    caller: Client = request.getfixturevalue(client)
    failure = caller.call(node_server, Call("bidi", requests_of("bidi", 300))).failure
    was_read = failure.code == "unknown" and "HTTP 505" in failure.message
    was_lost = failure.code == "unavailable" and "broke before the answer" in failure.message
    assert was_read or was_lost, failure


@pytest.mark.parametrize("method", ["server_stream", "client_stream", "bidi"])
def test_many_messages(pair: Pair, method: str, codec: str) -> None:
    count = 300
    requests: list[Json] = [{"values": {"number": str(number)}} for number in range(count)]
    if method == "server_stream":
        requests = [{"repeat": count}]
    call = Call(method, requests, codec=codec)
    if refuses_bidi(pair, call):
        return
    report = pair.call(call)
    assert report.error is None
    if method == "client_stream":
        assert report.only["seen"]["requests"] == count
    else:
        assert [one.get("index", 0) for one in report.responses] == list(range(count))

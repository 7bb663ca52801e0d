"""What the server says on the wire, to requests written by hand."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import struct
import urllib.parse
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto.v1 import LogLine

from aiauto import connect
from tests.connect.conftest import SERVICE, Lines, Serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto.connect.contract import Context

JSON = {"content-type": "application/json"}
PROTO = {"content-type": "application/proto"}
LINE = LogLine(text="hello", sequence=7)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        auto_decompress=False, skip_auto_headers=["accept-encoding"]
    ) as session:
        yield session


def frames(body: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while body:
        flags, size = struct.unpack_from(">BI", body)
        found.append((flags, body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def frame(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


# ---------------------------------------------------------------------------------- unary


async def test_json(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve()
    body = b'{"text": "hello", "sequence": "7", "unknown": {"is": "passed over"}}'
    async with http.post(f"{url}/{SERVICE}/Echo", data=body, headers=JSON) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert await answer.json() == {"text": "hello", "sequence": "7"}


async def test_proto(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve()
    async with http.post(f"{url}/{SERVICE}/Echo", data=bytes(LINE), headers=PROTO) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/proto"
        assert LogLine.parse(await answer.read()) == LINE


async def test_a_content_type_may_have_parameters(
    serve: Serving, http: aiohttp.ClientSession
) -> None:
    url = await serve()
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=headers) as answer:
        assert answer.status == 200


async def test_headers_and_trailers(serve: Serving, http: aiohttp.ClientSession) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        context.response_headers["X-Kind"] = "line"
        context.response_trailers["X-Cost"] = "3"
        return LogLine(text=context.request_headers["x-asked"])

    url = await serve(Lines(unary=unary))
    headers = {**JSON, "X-Asked": "yes"}
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=headers) as answer:
        assert await answer.json() == {"text": "yes"}
        assert answer.headers["x-kind"] == "line"
        assert answer.headers["trailer-x-cost"] == "3"


HTTP_STATUS = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}


@pytest.mark.parametrize("code", connect.Code)
async def test_errors(serve: Serving, http: aiohttp.ClientSession, code: connect.Code) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        context.response_trailers["x-cost"] = "3"
        raise connect.RpcError.of(code, "so it is", details=[LINE])

    url = await serve(Lines(unary=unary))
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert answer.status == HTTP_STATUS[code.value]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["trailer-x-cost"] == "3"
        found = await answer.json()
    value = base64.b64encode(bytes(LINE)).decode().rstrip("=")
    assert found == {
        "code": code.value,
        "message": "so it is",
        "details": [
            {
                "type": "aiauto.v1.LogLine",
                "value": value,
                "debug": {"sequence": "7", "text": "hello"},
            }
        ],
    }


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "the data is no JSON"),
        (b"{", "the data is no JSON"),
        (b"[]", "expected an object, found []"),
        (b'{"text": 5}', "text: expected a string, found 5"),
        (rb'{"text": "\ud800"}', r'text: "\ud800" holds half of a surrogate pair'),
        (b'{"text": "\xed\xa0\x80"}', r'text: "\ud800" holds half of a surrogate pair'),
        (b'{"sequence": "five"}', 'sequence: expected a whole number, found "five"'),
        (b'{"stream": "STDIN"}', "stream: 'STDIN' is none of LOG_STREAM_UNSPECIFIED, "),
    ],
)
async def test_broken_json(
    serve: Serving, http: aiohttp.ClientSession, body: bytes, place: str
) -> None:
    url = await serve()
    async with http.post(f"{url}/{SERVICE}/Echo", data=body, headers=JSON) as answer:
        assert answer.status == 400
        found = await answer.json()
    assert found["code"] == "invalid_argument"
    assert found["message"].startswith(f"the request of /{SERVICE}/Echo can't be read: {place}")


@pytest.mark.parametrize("body", [b"\x32\x05hel", b"\xff\xff\xff", b"\x32\x02\xff\xff", b"\x07"])
async def test_broken_proto(serve: Serving, http: aiohttp.ClientSession, body: bytes) -> None:
    url = await serve()
    async with http.post(f"{url}/{SERVICE}/Echo", data=body, headers=PROTO) as answer:
        assert answer.status == 400
        found = await answer.json()
    assert found["code"] == "invalid_argument"
    assert "can't be read" in found["message"]


async def test_an_error_that_nobody_expected_tells_no_secrets(
    serve: Serving, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        raise KeyError("the password is 1234")

    url = await serve(Lines(unary=unary))
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert answer.status == 500
        found = await answer.json()
    assert found["code"] == "internal"
    assert "KeyError" in found["message"]
    assert "1234" not in found["message"]
    assert "the password is 1234" in caplog.text  # with its traceback, in the log
    assert caplog.records[-1].name == "aiauto.connect"


async def test_an_error_is_told_whatever_its_text_holds(
    serve: Serving, http: aiohttp.ClientSession
) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        raise connect.InvalidArgumentError("no such file: caf\udce9.txt")

    url = await serve(Lines(unary=unary))
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert answer.status == 400
        assert (await answer.json())["message"] == "no such file: caf?.txt"


async def test_a_method_that_answers_with_something_else(
    serve: Serving, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def unary(request: LogLine, context: Context) -> Any:
        return {"text": "hello"}

    url = await serve(Lines(unary=unary))
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert (await answer.json())["code"] == "internal"
    assert "answers with dict, not with LogLine" in caplog.text


# ------------------------------------------------------------------------ what doesn't fit


async def test_another_http_method(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve()
    async with http.put(f"{url}/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert answer.status == 405
        assert answer.headers["allow"] == "POST"
        assert (await answer.json())["message"] == f"PUT does not fit /{SERVICE}/Echo: use POST"
    async with http.get(f"{url}/{SERVICE}/Echo?encoding=json&message={{}}") as answer:
        assert answer.status == 405
    async with http.delete(f"{url}/{SERVICE}/Read") as answer:
        assert answer.status == 405
        assert answer.headers["allow"] == "POST, GET"


@pytest.mark.parametrize(
    ("method", "content_type", "accepted"),
    [
        ("Echo", "text/plain", "application/proto, application/json"),
        ("Echo", "application/connect+json", "application/proto, application/json"),
        ("Count", "application/json", "application/connect+proto, application/connect+json"),
    ],
)
async def test_another_content_type(
    serve: Serving, http: aiohttp.ClientSession, method: str, content_type: str, accepted: str
) -> None:
    url = await serve()
    headers = {"content-type": content_type}
    async with http.post(f"{url}/{SERVICE}/{method}", data=b"{}", headers=headers) as answer:
        assert answer.status == 415
        assert answer.headers["accept-post"] == accepted
        assert f"with the content type {content_type!r}: use" in (await answer.json())["message"]


async def test_a_method_that_there_is_not(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve()
    async with http.post(f"{url}/{SERVICE}/Ecco", data=b"{}", headers=JSON) as answer:
        assert answer.status == 404
        found = await answer.json()
    assert found["code"] == "unimplemented"
    assert f"the service {SERVICE} has no method 'Ecco'" in found["message"]


async def test_a_prefix(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve(prefix="/api")
    async with http.post(f"{url}/api/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert answer.status == 200
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=JSON) as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("connect-protocol-version", "2", "speaks version 1"),
        ("connect-timeout-ms", "soon", "not milliseconds in at most ten digits"),
        ("connect-timeout-ms", "-1", "not milliseconds in at most ten digits"),
        ("connect-timeout-ms", "12345678901", "not milliseconds in at most ten digits"),
        ("content-encoding", "br", "the compression 'br' is not known; known: gzip, identity"),
    ],
)
async def test_headers_that_can_not_be_right(
    serve: Serving, http: aiohttp.ClientSession, name: str, value: str, message: str
) -> None:
    url = await serve()
    headers = {**JSON, name: value}
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"{}", headers=headers) as answer:
        assert answer.status in {400, 501}
        assert message in (await answer.json())["message"]


# ------------------------------------------------------------------------------------ GET


def query(**parts: str) -> str:
    return urllib.parse.urlencode(parts, quote_via=urllib.parse.quote)


@pytest.mark.parametrize(
    "parts",
    [
        {"encoding": "json", "message": '{"text": "hello", "sequence": 7}'},
        {"encoding": "json", "message": LINE.to_json(), "connect": "v1", "more": "is ignored"},
        {
            "encoding": "proto",
            "base64": "1",
            "message": base64.urlsafe_b64encode(bytes(LINE)).decode(),
        },
        {
            "encoding": "proto",
            "base64": "1",
            "compression": "gzip",
            "message": base64.urlsafe_b64encode(gzip.compress(bytes(LINE))).decode().rstrip("="),
        },
    ],
)
async def test_get(serve: Serving, http: aiohttp.ClientSession, parts: dict[str, str]) -> None:
    url = await serve()
    async with http.get(f"{url}/{SERVICE}/Read?{query(**parts)}") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == f"application/{parts['encoding']}"
        assert answer.headers["vary"] == "Accept-Encoding"
        body = await answer.read()
    assert (
        LogLine.parse(body) if parts["encoding"] == "proto" else LogLine.from_json(body)
    ) == LINE


@pytest.mark.parametrize(
    ("parts", "status", "message"),
    [
        ({}, 415, "with the content type"),
        ({"encoding": "xml", "message": "{}"}, 415, "with the content type"),
        ({"encoding": "json"}, 400, "the query has no message"),
        ({"encoding": "json", "message": "{}", "connect": "v2"}, 400, "connect='v2'"),
        ({"encoding": "proto", "message": "!", "base64": "1"}, 400, "not base64"),
        ({"encoding": "json", "message": "{}", "compression": "br"}, 501, "'br' is not known"),
    ],
)
async def test_get_that_can_not_be_right(
    serve: Serving, http: aiohttp.ClientSession, parts: dict[str, str], status: int, message: str
) -> None:
    url = await serve()
    async with http.get(f"{url}/{SERVICE}/Read?{query(**parts)}") as answer:
        assert answer.status == status
        assert message in (await answer.json())["message"]


# ---------------------------------------------------------------------------- compression


async def test_gzip_both_ways(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve(compress_min_bytes=100)
    line = LogLine(text="z" * 5000)
    headers = {**PROTO, "content-encoding": "gzip", "accept-encoding": "br, gzip;q=0.5"}
    body = gzip.compress(bytes(line))
    async with http.post(f"{url}/{SERVICE}/Echo", data=body, headers=headers) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        data = await answer.read()
    assert len(data) < 200
    assert LogLine.parse(gzip.decompress(data)) == line


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br", ""])
async def test_no_gzip_where_it_is_not_wanted(
    serve: Serving, http: aiohttp.ClientSession, accepted: str
) -> None:
    url = await serve(compress_min_bytes=100)
    line = LogLine(text="z" * 5000)
    headers = {**PROTO, "accept-encoding": accepted}
    async with http.post(f"{url}/{SERVICE}/Echo", data=bytes(line), headers=headers) as answer:
        assert "content-encoding" not in answer.headers
        assert LogLine.parse(await answer.read()) == line


async def test_small_answers_are_not_compressed(
    serve: Serving, http: aiohttp.ClientSession
) -> None:
    url = await serve()
    headers = {**PROTO, "accept-encoding": "gzip"}
    async with http.post(f"{url}/{SERVICE}/Echo", data=bytes(LINE), headers=headers) as answer:
        assert "content-encoding" not in answer.headers


async def test_an_empty_body_is_not_inflated(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve()
    headers = {**PROTO, "content-encoding": "gzip"}
    async with http.post(f"{url}/{SERVICE}/Echo", data=b"", headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [b"no gzip at all", gzip.compress(b"x" * 99)[:-9], gzip.compress(b"{}") + b"more"],
    ids=["not gzip", "cut off", "more behind it"],
)
async def test_broken_gzip(serve: Serving, http: aiohttp.ClientSession, body: bytes) -> None:
    url = await serve()
    headers = {**JSON, "content-encoding": "gzip"}
    async with http.post(f"{url}/{SERVICE}/Echo", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "the gzip data" in (await answer.json())["message"]


# --------------------------------------------------------------------------------- limits


async def test_a_request_that_is_too_large(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve(max_message_bytes=1000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    bomb = gzip.compress(b"x" * 100_000)
    assert len(bomb) < 1000
    for body, headers in (
        (b"x" * 1001, JSON),  # by its Content-Length
        (pieces(), JSON),  # counted, as it has none
        (bomb, {**JSON, "content-encoding": "gzip"}),
    ):
        async with http.post(f"{url}/{SERVICE}/Echo", data=body, headers=headers) as answer:
            assert answer.status == 429
            found = await answer.json()
        assert found["code"] == "resource_exhausted"
        assert "larger than the limit of 1000 bytes" in found["message"]


async def test_more_than_aiohttp_takes_by_default(
    serve: Serving, http: aiohttp.ClientSession
) -> None:
    url = await serve()
    body = json.dumps({"text": "x" * 3_000_000}).encode()
    async with http.post(f"{url}/{SERVICE}/Echo", data=_stream(body), headers=JSON) as answer:
        assert answer.status == 200
        assert len(await answer.read()) > 3_000_000


async def _stream(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def test_a_request_that_breaks_off(serve: Serving) -> None:
    url = urllib.parse.urlsplit(await serve())
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /{SERVICE}/Echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.write_eof()
    # Nobody is there to answer to; the server goes on.
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    async with aiohttp.ClientSession() as http:
        target = f"{url.geturl()}/{SERVICE}/Echo"
        async with http.post(target, data=b"{}", headers=JSON) as answer:
            assert answer.status == 200


# -------------------------------------------------------------------------------- streams

STREAM = {"content-type": "application/connect+json"}


async def test_a_stream(serve: Serving, http: aiohttp.ClientSession) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        context.response_headers["x-kind"] = "lines"
        context.response_trailers["x-cost"] = "3"
        yield LogLine(text="a")
        yield LogLine(text="b")

    url = await serve(Lines(stream=stream))
    body = frame(b'{"sequence": 2}')
    async with http.post(f"{url}/{SERVICE}/Count", data=body, headers=STREAM) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/connect+json"
        assert answer.headers["x-kind"] == "lines"
        found = frames(await answer.read())
    assert [(flags, json.loads(data)) for flags, data in found] == [
        (0, {"text": "a"}),
        (0, {"text": "b"}),
        (2, {"metadata": {"x-cost": ["3"]}}),
    ]


async def test_a_stream_that_ends_with_an_error(
    serve: Serving, http: aiohttp.ClientSession
) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        yield LogLine(text="a")
        raise connect.AbortedError("enough")

    url = await serve(Lines(stream=stream))
    async with http.post(f"{url}/{SERVICE}/Count", data=frame(b"{}"), headers=STREAM) as answer:
        assert answer.status == 200
        found = frames(await answer.read())
    assert [json.loads(data) for _, data in found] == [
        {"text": "a"},
        {"error": {"code": "aborted", "message": "enough"}},
    ]


async def test_a_compressed_stream(serve: Serving, http: aiohttp.ClientSession) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        yield LogLine(text=request.text)
        yield LogLine(text="short")

    url = await serve(Lines(stream=stream), compress_min_bytes=100)
    headers = {**STREAM, "connect-content-encoding": "gzip", "connect-accept-encoding": "gzip"}
    body = frame(gzip.compress(json.dumps({"text": "z" * 5000}).encode()), flags=1)
    async with http.post(f"{url}/{SERVICE}/Count", data=body, headers=headers) as answer:
        assert answer.headers["connect-content-encoding"] == "gzip"
        first, second, end = frames(await answer.read())
    assert first[0] == 1
    assert json.loads(gzip.decompress(first[1])) == {"text": "z" * 5000}
    assert second == (0, b'{"text":"short"}')
    assert end == (2, b"{}")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "unimplemented"),  # no message
        (frame(b"{}") * 2, "unimplemented"),  # two
        (frame(b"{}")[:-1], "invalid_argument"),  # less than one
        (b"\0\0", "invalid_argument"),
        (frame(b"{}", flags=1), "internal"),  # compressed, by nothing
        (frame(b"{}", flags=2), "invalid_argument"),  # only answers have an end
        (frame(b"[]"), "invalid_argument"),
        (frame(b"x" * 1001), "resource_exhausted"),
    ],
)
async def test_streams_that_can_not_be_right(
    serve: Serving, http: aiohttp.ClientSession, body: bytes, code: str
) -> None:
    url = await serve(max_message_bytes=1000)
    async with http.post(f"{url}/{SERVICE}/Count", data=body, headers=STREAM) as answer:
        assert answer.status == 200
        ((flags, end),) = frames(await answer.read())
    assert flags == 2
    assert json.loads(end)["error"]["code"] == code


async def test_a_stream_of_requests(serve: Serving, http: aiohttp.ClientSession) -> None:
    url = await serve()
    body = frame(b'{"text": "a"}') + frame(b'{"text": "b"}')
    async with http.post(f"{url}/{SERVICE}/Join", data=body, headers=STREAM) as answer:
        found = frames(await answer.read())
    assert found == [(0, b'{"text":"a b"}'), (2, b"{}")]


async def test_a_method_that_is_no_generator(
    serve: Serving, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def stream(request: LogLine, context: Context) -> Any:
        return request

    url = await serve(Lines(stream=stream))  # type: ignore[arg-type]
    async with http.post(f"{url}/{SERVICE}/Count", data=frame(b"{}"), headers=STREAM) as answer:
        ((_, end),) = frames(await answer.read())
    assert json.loads(end)["error"]["code"] == "internal"
    assert "must be an asynchronous generator" in caplog.text

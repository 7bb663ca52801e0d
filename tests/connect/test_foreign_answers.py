"""Answers that are none of the protocol: of proxies, of other servers, of broken ones."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto.v1 import LogLine

from aiauto import connect
from tests.connect.conftest import COUNT, ECHO, TAIL, http_answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from tests.connect.conftest import Serving, Wire

    StartWire = Callable[..., Awaitable[Wire]]

LINE = LogLine(text="hello")
HTML = b"<html><head><style>p {}</style><title>502</title></head><body>Bad <b>Gateway</b></body>"


async def outcome(wire: Wire, **options: Any) -> connect.RpcError:
    """The error of a unary call; a stream must give the same."""
    async with connect.Transport(wire.url, retries=connect.NO_RETRIES, **options) as transport:
        with pytest.raises(connect.RpcError) as unary:
            await transport.unary(ECHO, LINE)
        with pytest.raises(connect.RpcError) as stream:
            await anext(transport.server_stream(TAIL, LINE))
    assert type(unary.value) is type(stream.value)
    return unary.value


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        ("400 Bad Request", connect.InternalError),
        ("401 Unauthorized", connect.UnauthenticatedError),
        ("403 Forbidden", connect.PermissionDeniedError),
        ("404 Not Found", connect.UnimplementedError),
        ("413 Payload Too Large", connect.UnknownError),
        ("418 I'm a teapot", connect.UnknownError),
        ("429 Too Many Requests", connect.UnavailableError),
        ("500 Internal Server Error", connect.UnknownError),
        ("502 Bad Gateway", connect.UnavailableError),
        ("503 Service Unavailable", connect.UnavailableError),
        ("504 Gateway Timeout", connect.UnavailableError),
    ],
)
async def test_a_proxy(wire: StartWire, status: str, error_type: type[connect.RpcError]) -> None:
    server = await wire(http_answer(status, HTML, "text/html", x_proxy="squid"))
    error = await outcome(server)
    assert type(error) is error_type
    assert error.http_status == int(status[:3])
    assert f"answered HTTP {status}" in error.message
    assert error.message.endswith("502 Bad Gateway")  # the text of the page, without its tags
    assert error.metadata["x-proxy"] == "squid"


async def test_a_page_that_is_long(wire: StartWire) -> None:
    error = await outcome(await wire(http_answer("502 Bad Gateway", b"word " * 9999, "text/plain")))
    assert len(error.message) < 400
    assert error.message.endswith("...")


async def test_a_page_that_is_endless(wire: StartWire) -> None:
    error = await outcome(await wire(http_answer("502 Bad Gateway", b"x" * 200_000, "text/plain")))
    assert isinstance(error, connect.UnavailableError)


async def test_a_redirection(wire: StartWire) -> None:
    server = await wire(http_answer("301 Moved", location="https://example.com/"))
    error = await outcome(server)
    assert "a redirection to https://example.com/: is that the address to use?" in error.message


async def test_a_page_with_status_200(wire: StartWire) -> None:
    error = await outcome(await wire(http_answer("200 OK", HTML, "text/html")))
    assert isinstance(error, connect.UnknownError)
    assert "is this the address of a server for these calls?" in error.message
    assert error.http_status == 200


@pytest.mark.parametrize("content_type", ["application/json", "application/connect+json"])
async def test_another_codec(wire: StartWire, content_type: str) -> None:
    server = await wire(http_answer("200 OK", b"{}", content_type))
    async with connect.Transport(server.url) as transport:
        with pytest.raises(connect.InternalError, match="instead of 'application/proto'"):
            await transport.unary(ECHO, LINE)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"code": "not_found", "message": "no"}', "not_found", "no"),
        (b'{"code": "not_found", "more": 1}', "not_found", "not_found"),
        (b'{"message": "no"}', "unauthenticated", "no"),
        (b'{"code": null, "message": "no"}', "unauthenticated", "no"),
        (b'{"code": ["x"], "message": 5}', "unauthenticated", "unauthenticated"),
        (b'{"code": "new_code", "message": "no"}', "unauthenticated", "no"),
        (
            b'{"code": "not_found", "details": [1, {}, {"type": "x", "value": "!"}]}',
            "not_found",
            "",
        ),
        (b"null", "unauthenticated", "answered HTTP 401"),
        (b"{", "unauthenticated", "answered HTTP 401"),
        (b"", "unauthenticated", "answered HTTP 401"),
    ],
)
async def test_errors_in_json(wire: StartWire, body: bytes, code: str, message: str) -> None:
    server = await wire(http_answer("401 Unauthorized", body, "application/json"))
    error = await outcome(server)
    assert error.code.value == code
    assert message in str(error)
    assert error.details == ()


@pytest.mark.parametrize(
    "answer",
    [
        http_answer("200 OK", b"\x32\x05hel", "application/proto"),
        http_answer("200 OK", b"abc", "application/proto", content_encoding="gzip"),
        http_answer("200 OK", b"abc", "application/proto", content_encoding="zstd"),
    ],
)
async def test_answers_that_can_not_be_read(wire: StartWire, answer: bytes) -> None:
    server = await wire(answer)
    async with connect.Transport(server.url, compressions=[connect.GZIP]) as transport:
        with pytest.raises(connect.InternalError, match="can't be read"):
            await transport.unary(ECHO, LINE)


async def test_no_http_at_all(wire: StartWire) -> None:
    error = await outcome(await wire(b"220 mail.example.com ESMTP\r\n\r\n"))
    assert isinstance(error, connect.UnknownError)
    assert "does not answer in HTTP" in error.message


async def test_a_body_that_breaks_off(wire: StartWire) -> None:
    answer = http_answer("200 OK", b"x" * 100, "application/proto", connection="close")[:-50]
    server = await wire(answer)
    async with connect.Transport(server.url, retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.UnavailableError, match="broke in the middle of the answer"):
            await transport.unary(ECHO, LINE)


async def test_a_connection_that_is_reset(wire: StartWire) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        found: socket.socket = writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    error = await outcome(await wire(reset))
    assert isinstance(error, connect.UnavailableError)
    assert isinstance(error, ConnectionError)


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with connect.Transport(url, retries=connect.NO_RETRIES) as transport:
            with pytest.raises(connect.UnavailableError, match="is the server running") as caught:
                await transport.unary(ECHO, LINE)
        assert caught.value.__cause__ is not None


async def test_a_name_that_there_is_not() -> None:
    async with connect.Transport("http://host.invalid", retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.UnavailableError, match="can't be reached"):
            await transport.unary(ECHO, LINE)


async def test_tls_with_a_server_that_has_none(serve: Serving) -> None:
    url = (await serve()).replace("http:", "https:")
    async with connect.Transport(url, retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.UnavailableError, match="no secure connection"):
            await transport.unary(ECHO, LINE)


# -------------------------------------------------------------------------------- streams


def stream_answer(*frames: bytes, **headers: str) -> bytes:
    return http_answer("200 OK", b"".join(frames), "application/connect+proto", **headers)


def frame(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


GOOD = frame(bytes(LINE))


@pytest.mark.parametrize(
    ("frames", "error_type", "message"),
    [
        ([GOOD], connect.UnavailableError, "was cut off before its end"),
        ([GOOD, GOOD[:-1]], connect.InternalError, "in the middle of a message"),
        ([GOOD, frame(b"[]", 2)], connect.InternalError, "the end of the answer can't be read"),
        ([GOOD, frame(b"x", 1)], connect.InternalError, "no compression was announced"),
        ([GOOD, frame(b"\x32\x05hel")], connect.InternalError, "can't be read"),
        ([GOOD, frame(b'{"error": {"message": "no"}}', 2)], connect.UnknownError, "no"),
        ([GOOD, frame(b'{"error": {"code": "aborted"}}', 2)], connect.AbortedError, "aborted"),
    ],
)
async def test_streams_that_end_badly(
    wire: StartWire, frames: list[bytes], error_type: type[connect.RpcError], message: str
) -> None:
    server = await wire(stream_answer(*frames))
    async with connect.Transport(server.url) as transport:
        stream = transport.server_stream(COUNT, LINE)
        assert await anext(stream) == LINE
        with pytest.raises(error_type, match=message):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert len(server.requests) == 1  # never again after the first message


async def test_a_stream_whose_error_is_null(wire: StartWire) -> None:
    server = await wire(stream_answer(frame(b'{"error": null, "metadata": {"x": ["1", "2"]}}', 2)))
    async with connect.Transport(server.url) as transport:
        stream = transport.server_stream(COUNT, LINE)
        assert [line async for line in stream] == []
        assert stream.trailers.get_all("X") == ["1", "2"]

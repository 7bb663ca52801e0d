"""Unary calls through the transport."""

from __future__ import annotations

import asyncio
import gzip
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto.v1 import AppendLogsRequest, AppendLogsResponse, LogLine, LogStream

from aiauto import connect
from tests.connect.conftest import APPEND, CHAT, COUNT, ECHO, PUT, READ, TAIL, Lines, Serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto.connect.contract import Context
    from tests.connect.conftest import ThreadedServer

LINE = LogLine(text="héllo", sequence=-7, stream=LogStream.STDERR, trial_number=0)


@pytest.mark.parametrize("codec", ["proto", "json"])
@pytest.mark.parametrize("compressions", [(), (connect.GZIP,)])
async def test_a_call(serve: Serving, codec: Any, compressions: Any) -> None:
    url = await serve()
    async with connect.Transport(
        url, codec=codec, compressions=compressions, compress_min_bytes=0
    ) as transport:
        assert await transport.unary(ECHO, LINE) == LINE
        assert await transport.unary(ECHO, LogLine()) == LogLine()
        large = LogLine(text="ab" * 1_500_000)
        assert await transport.unary(ECHO, large) == large


async def test_headers_there_and_back(serve: Serving) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        assert context.method == "/acme.log.v1.LineService/Echo"
        assert context.peer == "127.0.0.1"
        context.response_headers["X-Kind"] = "line"
        context.response_trailers["x-cost"] = "3"
        names = ("authorization", "x-mine", "x-ours", "connect-protocol-version")
        return LogLine(text=" ".join(context.request_headers[name] for name in names))

    url = await serve(Lines(unary=unary))
    async with connect.Transport(url, token="secret", headers={"X-Ours": "o"}) as transport:
        with connect.ResponseMetadata() as answer:
            line = await transport.unary(ECHO, LINE, headers={"X-Mine": "m"})
        assert line.text == "Bearer secret m o 1"
        assert answer.headers["X-KIND"] == "line"
        assert answer.trailers == {"x-cost": "3"}
        # A call's own headers have precedence.
        line = await transport.unary(ECHO, LINE, headers={"X-Mine": "m", "x-ours": "mine"})
        assert line.text == "Bearer secret m mine 1"


async def test_a_token_that_changes(serve: Serving) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        return LogLine(text=context.request_headers["authorization"])

    tokens = iter(["one", "two"])
    async with connect.Transport(
        await serve(Lines(unary=unary)), token=lambda: next(tokens)
    ) as transport:
        assert (await transport.unary(ECHO, LINE)).text == "Bearer one"
        assert (await transport.unary(ECHO, LINE)).text == "Bearer two"


@pytest.mark.parametrize("codec", ["proto", "json"])
@pytest.mark.parametrize("code", connect.Code)
async def test_an_error_arrives_as_it_was_raised(
    serve: Serving, code: connect.Code, codec: Any
) -> None:
    error = connect.RpcError.of(code, "so it is", details=[LINE])

    async def unary(request: LogLine, context: Context) -> LogLine:
        context.response_trailers["x-cost"] = "3"
        raise error

    async with connect.Transport(
        await serve(Lines(unary=unary)), codec=codec, retries=connect.NO_RETRIES
    ) as transport:
        with pytest.raises(connect.RpcError) as caught:
            await transport.unary(ECHO, LINE)
    found = caught.value
    assert type(found) is type(error)
    assert (found.code, found.message, found.details) == (code, "so it is", error.details)
    assert found.detail(LogLine) == LINE
    assert found.detail(AppendLogsRequest) is None
    assert found.metadata["x-cost"] == "3"
    assert found.http_status is None


async def test_a_method_that_is_not_implemented(serve: Serving) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        raise NotImplementedError

    async with connect.Transport(await serve(Lines(unary=unary))) as transport:
        with pytest.raises(connect.UnimplementedError, match="Echo is not implemented"):
            await transport.unary(ECHO, LINE)


async def test_a_field_that_can_not_hold_its_value(serve: Serving) -> None:
    async with connect.Transport(await serve()) as transport:
        wrong = LogLine(text=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        with pytest.raises(connect.InvalidArgumentError, match=r"LogLine\.text can't hold 5"):
            await transport.unary(ECHO, wrong)


# ------------------------------------------------------------------------------ deadlines


async def test_the_server_knows_the_deadline(serve: Serving) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        return LogLine(text=str(context.deadline_left()))

    async with connect.Transport(await serve(Lines(unary=unary)), timeout=None) as transport:
        assert (await transport.unary(ECHO, LINE)).text == "None"
        assert 25 < float((await transport.unary(ECHO, LINE, timeout=30)).text) <= 30
    async with connect.Transport(transport.base_url, timeout=20) as transport:
        assert 15 < float((await transport.unary(ECHO, LINE)).text) <= 20
        assert (await transport.unary(ECHO, LINE, timeout=None)).text == "None"


async def test_a_call_that_takes_too_long(serve: Serving) -> None:
    cancelled = asyncio.Event()

    async def unary(request: LogLine, context: Context) -> LogLine:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    async with connect.Transport(await serve(Lines(unary=unary))) as transport:
        with pytest.raises(connect.DeadlineExceededError, match=r"Echo took longer than .* 0\.1 s"):
            await transport.unary(ECHO, LINE, timeout=0.1)
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_the_server_keeps_the_deadline_itself(serve: Serving) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        await asyncio.sleep(30)
        return request

    # The header without the client's own limit.
    url = await serve(Lines(unary=unary))

    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{url}/acme.log.v1.LineService/Echo",
            data=b"{}",
            headers={"content-type": "application/json", "connect-timeout-ms": "50"},
        ) as answer,
    ):
        assert answer.status == 504
        assert (await answer.json())["code"] == "deadline_exceeded"


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
async def test_timeouts_that_are_none(serve: Serving, timeout: float) -> None:
    with pytest.raises(ValueError, match="it must be a number of seconds above 0"):
        connect.Transport("http://127.0.0.1:1", timeout=timeout)
    async with connect.Transport("http://127.0.0.1:1") as transport:
        with pytest.raises(ValueError, match="it must be a number of seconds above 0"):
            await transport.unary(ECHO, LINE, timeout=timeout)


# --------------------------------------------------------------------------- cancellation


async def test_cancellation_stays_one_and_reaches_the_method(serve: Serving) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def unary(request: LogLine, context: Context) -> LogLine:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    async with connect.Transport(await serve(Lines(unary=unary))) as transport:
        call = asyncio.ensure_future(transport.unary(ECHO, LINE))
        await asyncio.wait_for(started.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_timeout_around_a_call_is_the_callers(serve: Serving) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        await asyncio.sleep(30)
        return request

    async with connect.Transport(await serve(Lines(unary=unary))) as transport:
        with pytest.raises(asyncio.TimeoutError) as caught:
            await asyncio.wait_for(transport.unary(ECHO, LINE), 0.1)
        assert not isinstance(caught.value, connect.RpcError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brought them")
async def test_asyncios_own_blocks(serve: Serving) -> None:
    aio: Any = asyncio  # checked as that of Python 3.10
    cancelled = asyncio.Event()

    async def unary(request: LogLine, context: Context) -> LogLine:
        if request.text == "fail":
            raise connect.NotFoundError("no such line")
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()
        return request

    async with connect.Transport(await serve(Lines(unary=unary))) as transport:
        with pytest.raises(TimeoutError) as late:
            async with aio.timeout(0.1):
                await transport.unary(ECHO, LINE)
        assert not isinstance(late.value, connect.RpcError)
        await asyncio.wait_for(cancelled.wait(), 5)
        cancelled.clear()

        async def call_both() -> None:
            async with aio.TaskGroup() as group:
                group.create_task(transport.unary(ECHO, LINE))
                await asyncio.sleep(0.1)
                group.create_task(transport.unary(ECHO, LogLine(text="fail")))

        # The call that fails ends its sibling, and the group tells what it was.
        with pytest.raises(Exception, match="TaskGroup") as caught:
            await call_both()
        failures: Any = caught.value
        assert [type(one) for one in failures.exceptions] == [connect.NotFoundError]
        await asyncio.wait_for(cancelled.wait(), 5)


# ---------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("compressions", [(), (connect.GZIP,)])
async def test_an_answer_that_is_too_large(serve: Serving, compressions: Any) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        return LogLine(text="x" * 10_000)

    url = await serve(Lines(unary=unary))
    async with connect.Transport(
        url, compressions=compressions, max_message_bytes=1000
    ) as transport:
        with pytest.raises(connect.ResourceExhaustedError, match="the limit of 1000 bytes"):
            await transport.unary(ECHO, LINE)


async def test_gzip_never_gives_more_than_the_limit() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    with pytest.raises(connect.ResourceExhaustedError):
        connect.GZIP.decompress(bomb, 1000)
    # Members one behind the other count together.
    with pytest.raises(connect.ResourceExhaustedError):
        connect.GZIP.decompress(gzip.compress(b"x" * 600) * 2, 1000)
    assert connect.GZIP.decompress(gzip.compress(b"x" * 500) * 2, 1000) == b"x" * 1000


# ------------------------------------------------------------------------------------ GET


@pytest.mark.parametrize("codec", ["proto", "json"])
@pytest.mark.parametrize("compressions", [(), (connect.GZIP,)])
async def test_get(serve: Serving, codec: Any, compressions: Any) -> None:
    seen: list[str] = []

    async def unary(request: LogLine, context: Context) -> LogLine:
        assert isinstance(context, connect.CallContext)
        seen.append(context.http_request.method)
        return request

    async with connect.Transport(
        await serve(Lines(unary=unary)), codec=codec, compressions=compressions, use_get=True
    ) as transport:
        line = LogLine(text="a&b=c+d %41 é" * 200)
        for method in (READ, PUT, ECHO):
            assert await transport.unary(method, LINE) == LINE
        assert await transport.unary(READ, line, timeout=10) == line
        # Too long for an address, unless it was compressed.
        long = LogLine(text="a&b=c+d %41 é" * 2000)
        assert await transport.unary(READ, long) == long
    assert seen == ["GET", "POST", "POST", "GET", "GET" if compressions else "POST"]


# --------------------------------------------------------------------------- interceptors


async def test_interceptors(serve: Serving) -> None:
    order: list[str] = []

    async def outer(context: connect.CallContext, call_next: connect.Next) -> None:
        order.append(f"outer {context.method.rpartition('/')[2]}")
        try:
            await call_next()
        except connect.RpcError as error:
            order.append(f"outer {error.code.value}")
            raise
        order.append("outer end")
        context.response_trailers["x-outer"] = "seen"

    async def gate(context: connect.CallContext, call_next: connect.Next) -> None:
        if context.request_headers.get("authorization") != "Bearer good":
            raise connect.UnauthenticatedError("no such token: create one")
        await call_next()

    async def unary(request: LogLine, context: Context) -> LogLine:
        order.append("method")
        return request

    url = await serve(Lines(unary=unary), interceptors=[outer, gate], max_message_bytes=1000)
    async with connect.Transport(url, token="good") as transport:
        with connect.ResponseMetadata() as answer:
            await transport.unary(ECHO, LINE)
        assert answer.trailers["x-outer"] == "seen"
        assert [line async for line in transport.server_stream(COUNT, LINE)] == []
    assert order == ["outer Echo", "method", "outer end", "outer Count", "outer end"]
    order.clear()
    async with connect.Transport(url, token="bad") as transport:
        # Refused before the body is read: it is too large, and the refusal comes first.
        with pytest.raises(connect.UnauthenticatedError, match="no such token"):
            await transport.unary(ECHO, LogLine(text="x" * 5000))
        with pytest.raises(connect.UnauthenticatedError, match="no such token"):
            await anext(transport.server_stream(TAIL, LINE))
    assert order == ["outer Echo", "outer unauthenticated", "outer Tail", "outer unauthenticated"]


# ------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:80", "must be an address such as"),
        ("ftp://example.com", "must be an address such as"),
        ("http://", "must be an address such as"),
        ("http://example.com:99999", "range"),
        ("http://example.com/?a=b", "leave out what follows"),
    ],
)
def test_addresses_that_are_none(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        connect.Transport(url)


@pytest.mark.parametrize("token", ["", "two words", "line\n", "tökən"])
async def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(ValueError, match="the token is empty or has characters"):
        connect.Transport("http://127.0.0.1:1", token=token)
    async with connect.Transport("http://127.0.0.1:1", token=lambda: token) as transport:
        with pytest.raises(ValueError, match="the token is empty or has characters"):
            await transport.unary(ECHO, LINE)


@pytest.mark.parametrize("name", ["Content-Type", "connect-timeout-ms", "Host"])
async def test_headers_that_are_not_the_callers(name: str) -> None:
    with pytest.raises(ValueError, match="the protocol's own"):
        connect.Transport("http://127.0.0.1:1", headers={name: "x"})
    async with connect.Transport("http://127.0.0.1:1") as transport:
        with pytest.raises(ValueError, match="the protocol's own"):
            await transport.unary(ECHO, LINE, headers={name: "x"})


async def test_a_path_in_the_address(serve: Serving) -> None:
    url = await serve(prefix="/api/rpc")
    async with connect.Transport(url + "/api/rpc/") as transport:
        assert await transport.unary(ECHO, LINE) == LINE


def test_an_unknown_codec() -> None:
    codec: Any = "yaml"
    with pytest.raises(ValueError, match="one of proto, json"):
        connect.Transport("http://127.0.0.1:1", codec=codec)


async def test_a_proxy_of_the_environment_is_not_for_loopback(
    serve: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with connect.Transport(await serve()) as transport:
        assert await transport.unary(ECHO, LINE) == LINE
    async with connect.Transport("http://example.test", retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.UnavailableError, match=r"example\.test can't be reached"):
            await transport.unary(ECHO, LINE)


# -------------------------------------------------------------------------- event loops


async def test_closing_ends_calls(serve: Serving) -> None:
    cancelled = asyncio.Event()

    async def unary(request: LogLine, context: Context) -> LogLine:
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.set()
        return request

    async with connect.Transport(await serve(Lines(unary=unary)), timeout=None) as transport:
        call = asyncio.create_task(transport.unary(ECHO, LINE))
        await asyncio.sleep(0.1)
        await transport.close()
        with pytest.raises(connect.CanceledError, match="its transport was closed"):
            await asyncio.wait_for(call, 5)
        await asyncio.wait_for(cancelled.wait(), 5)
        # It can be used again.
        with pytest.raises(connect.DeadlineExceededError):
            await transport.unary(ECHO, LINE, timeout=0.1)


def test_one_transport_on_several_loops(threaded_server: ThreadedServer) -> None:
    transport = connect.Transport(threaded_server.url)

    async def call() -> None:
        for _ in range(2):
            assert await transport.unary(ECHO, LINE) == LINE
            await transport.close()  # and opens again

    asyncio.run(call())
    asyncio.run(call())
    with ThreadPoolExecutor(4) as threads:
        for running in [threads.submit(asyncio.run, keep_calling(transport)) for _ in range(4)]:
            running.result(20)


async def keep_calling(transport: connect.Transport) -> None:
    async with transport:
        for _ in range(20):
            assert await transport.unary(ECHO, LINE) == LINE


async def test_pickle(serve: Serving) -> None:
    async with connect.Transport(await serve(), token="secret", timeout=5) as transport:
        assert await transport.unary(ECHO, LINE) == LINE
        copied: connect.Transport = pickle.loads(pickle.dumps(transport))
        async with copied:
            assert await copied.unary(ECHO, LINE) == LINE


async def test_a_request_with_an_id(serve: Serving) -> None:
    async def append(request: AppendLogsRequest, context: Context) -> AppendLogsResponse:
        assert request.lines == [LINE]
        return AppendLogsResponse()

    async with connect.Transport(await serve(Lines(append=append))) as transport:
        request = AppendLogsRequest(lines=[LINE], request_id="1")
        assert await transport.unary(APPEND, request) == AppendLogsResponse()


async def test_half_duplex(serve: Serving) -> None:
    async def lines() -> AsyncIterator[LogLine]:
        for text in "ab":
            await asyncio.sleep(0.01)
            yield LogLine(text=text)

    async with connect.Transport(await serve()) as transport:
        found = [line.text async for line in transport.bidi_stream(CHAT, lines())]
    assert found == ["A", "B"]

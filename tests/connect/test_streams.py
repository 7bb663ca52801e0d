"""Calls that stream, through the transport."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto.v1 import LogLine

from aiauto import connect
from tests.connect.conftest import CHAT, COUNT, JOIN, TAIL, Lines, Serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiauto.connect.contract import Context

LINE = LogLine(text="hello")


class Endless:
    """A stream that goes on until its caller goes away."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, _request: LogLine, _context: Context) -> AsyncIterator[LogLine]:
        try:
            number = 0
            while True:
                yield LogLine(sequence=number)
                number += 1
                await asyncio.sleep(0.01 if number < 3 else 60)
        finally:
            self.left.set()


@pytest.mark.parametrize("codec", ["proto", "json"])
@pytest.mark.parametrize("compressions", [(), (connect.GZIP,)])
async def test_every_kind(serve: Serving, codec: Any, compressions: Any) -> None:
    url = await serve()
    async with connect.Transport(
        url, codec=codec, compressions=compressions, compress_min_bytes=0
    ) as transport:
        numbers = [
            line.sequence async for line in transport.server_stream(COUNT, LogLine(sequence=3))
        ]
        assert numbers == [0, 1, 2]
        lines = [LogLine(text="a"), LogLine(text="b")]
        assert await transport.client_stream(JOIN, lines) == LogLine(text="a b")
        assert await transport.client_stream(JOIN, []) == LogLine()
        answers = [line.text async for line in transport.bidi_stream(CHAT, lines)]
        assert answers == ["A", "B"]


async def test_headers_and_trailers(serve: Serving) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        context.response_headers["x-kind"] = "lines"
        yield request
        context.response_trailers["x-cost"] = context.request_headers["x-mine"]

    async with connect.Transport(await serve(Lines(stream=stream))) as transport:
        found = transport.server_stream(COUNT, LINE, headers={"X-Mine": "3"})
        assert found.headers == {}
        assert await anext(found) == LINE
        assert found.headers["x-kind"] == "lines"
        # Else nginx holds back what is small until there is more.
        assert found.headers["x-accel-buffering"] == "no"
        assert found.trailers == {}
        with pytest.raises(StopAsyncIteration):
            await anext(found)
        assert found.trailers == {"x-cost": "3"}


async def test_connections_are_used_again(serve: Serving) -> None:
    peers: set[object] = set()

    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        assert isinstance(context, connect.CallContext)
        transport = context.http_request.transport
        assert transport is not None
        peers.add(transport.get_extra_info("peername"))
        yield request

    async with connect.Transport(await serve(Lines(stream=stream))) as transport:
        for _ in range(5):
            assert [line async for line in transport.server_stream(COUNT, LINE)] == [LINE]
    assert len(peers) == 1


# -------------------------------------------------------------------------- leaving early


async def test_break_in_a_block(serve: Serving) -> None:
    endless = Endless()
    async with connect.Transport(await serve(Lines(stream=endless))) as transport:
        async with transport.server_stream(COUNT, LINE) as stream:
            async for line in stream:
                if line.sequence == 1:
                    break
        await asyncio.wait_for(endless.left.wait(), 5)
        assert [line async for line in stream] == []


async def test_aclose(serve: Serving) -> None:
    endless = Endless()
    async with connect.Transport(await serve(Lines(stream=endless))) as transport:
        stream = transport.server_stream(COUNT, LINE)
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(endless.left.wait(), 5)
        await stream.aclose()


@pytest.mark.parametrize("waiting", [True, False])
async def test_closing_the_transport(serve: Serving, *, waiting: bool) -> None:
    endless = Endless()
    async with connect.Transport(await serve(Lines(stream=endless))) as transport:
        stream = transport.server_stream(COUNT, LINE)
        for _ in range(3):
            await anext(stream)
        following = asyncio.create_task(anext(stream)) if waiting else None
        await asyncio.sleep(0.1)
        await transport.close()
        with pytest.raises(connect.CanceledError, match="its transport was closed"):
            await asyncio.wait_for(following or anext(stream), 5)
        assert [line async for line in stream] == []
        await asyncio.wait_for(endless.left.wait(), 5)


async def test_a_stream_that_is_dropped(serve: Serving) -> None:
    endless = Endless()
    async with connect.Transport(await serve(Lines(stream=endless))) as transport:
        async for _ in transport.server_stream(COUNT, LINE):
            break
        gc.collect()
        await asyncio.wait_for(endless.left.wait(), 5)


async def test_a_stream_that_is_not_begun(serve: Serving) -> None:
    async with connect.Transport(await serve()) as transport:
        async with transport.server_stream(COUNT, LINE):
            pass
        transport.server_stream(COUNT, LINE)


async def test_cancellation(serve: Serving) -> None:
    endless = Endless()
    seen = asyncio.Event()

    async def watch(transport: connect.Transport) -> None:
        async for line in transport.server_stream(COUNT, LINE):
            if line.sequence == 1:
                seen.set()

    async with connect.Transport(await serve(Lines(stream=endless))) as transport:
        task = asyncio.ensure_future(watch(transport))
        await asyncio.wait_for(seen.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(endless.left.wait(), 5)


async def test_the_deadline_is_that_of_the_whole_stream(serve: Serving) -> None:
    endless = Endless()
    async with connect.Transport(await serve(Lines(stream=endless))) as transport:
        stream = transport.server_stream(COUNT, LINE, timeout=0.3)
        assert [(await anext(stream)).sequence for _ in range(3)] == [0, 1, 2]
        with pytest.raises(connect.DeadlineExceededError, match=r"Count took longer .* 0\.3 s"):
            await anext(stream)
        await asyncio.wait_for(endless.left.wait(), 5)


async def test_answers_that_stream_have_no_limit_by_themselves(serve: Serving) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        assert context.deadline_left() is None
        await asyncio.sleep(0.3)
        yield request

    async def join(requests: AsyncIterator[LogLine], context: Context) -> LogLine:
        await asyncio.sleep(30)
        return LINE

    url = await serve(Lines(stream=stream, join=join))
    async with connect.Transport(url, timeout=0.1) as transport:
        assert [line async for line in transport.server_stream(COUNT, LINE)] == [LINE]
        with pytest.raises(connect.DeadlineExceededError):
            await transport.client_stream(JOIN, [LINE])


async def test_the_server_ends_a_stream_at_its_deadline(serve: Serving) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        yield request
        await asyncio.sleep(30)

    url = await serve(Lines(stream=stream))
    async with connect.Transport(url) as transport:
        # The server is told of 50 ms, and the client itself waits for longer.
        channel = transport._options.channel  # pyright: ignore[reportPrivateUsage]
        send = channel.send

        async def impatient(*args: Any, **options: Any) -> Any:
            options["deadline"] = asyncio.get_running_loop().time() + 0.05
            return await send(*args, **options)

        channel.send = impatient  # type: ignore[method-assign]
        found = transport.server_stream(TAIL, LINE)
        assert await anext(found) == LINE
        with pytest.raises(connect.DeadlineExceededError, match="took longer than its deadline"):
            await anext(found)


# ----------------------------------------------------------------------- what goes wrong


async def test_errors_between_messages(serve: Serving) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        yield request
        raise connect.DataLossError("gone", details=[request])

    async with connect.Transport(await serve(Lines(stream=stream))) as transport:
        found = transport.server_stream(COUNT, LINE)
        assert await anext(found) == LINE
        with pytest.raises(connect.DataLossError, match="gone") as caught:
            await anext(found)
        assert caught.value.detail(LogLine) == LINE


async def test_an_answer_that_is_too_large(serve: Serving) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        yield LINE
        yield LogLine(text="x" * 5000)

    url = await serve(Lines(stream=stream))
    for compressions in ([], [connect.GZIP]):
        async with connect.Transport(
            url, max_message_bytes=1000, compressions=compressions
        ) as transport:
            found = transport.server_stream(COUNT, LINE)
            assert await anext(found) == LINE
            with pytest.raises(connect.ResourceExhaustedError):
                await anext(found)


async def test_an_error_of_the_callers_own_iterable(serve: Serving) -> None:
    def lines() -> Iterator[LogLine]:
        yield LINE
        raise KeyError("mine")

    async def async_lines() -> AsyncIterator[LogLine]:
        for line in lines():
            yield line

    async with connect.Transport(await serve()) as transport:
        for requests in (lines(), async_lines()):
            with pytest.raises(KeyError, match="mine"):
                await transport.client_stream(JOIN, requests)
        with pytest.raises(KeyError, match="mine"):
            await anext(transport.bidi_stream(CHAT, lines()))
        wrong: Any = LogLine(sequence="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        with pytest.raises(connect.InvalidArgumentError, match=r"LogLine\.sequence"):
            await transport.client_stream(JOIN, [LINE, wrong])


async def test_a_server_that_does_not_want_all_requests(serve: Serving) -> None:
    async def join(requests: AsyncIterator[LogLine], context: Context) -> LogLine:
        await anext(requests)
        raise connect.OutOfRangeError("one is enough")

    async def endless() -> AsyncIterator[LogLine]:
        while True:
            yield LINE
            await asyncio.sleep(0.01)

    async with connect.Transport(await serve(Lines(join=join))) as transport:
        with pytest.raises(connect.OutOfRangeError, match="one is enough"):
            await asyncio.wait_for(transport.client_stream(JOIN, endless()), 5)


async def test_a_server_that_stops(serve: Serving) -> None:
    async with connect.Transport(await serve(Lines(stream=Endless()))) as transport:
        stream = transport.server_stream(COUNT, LINE)
        for _ in range(3):
            await anext(stream)
        await serve.stop()
        with pytest.raises(connect.UnavailableError, match="broke in the middle of the answer"):
            await anext(stream)

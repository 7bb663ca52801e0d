"""Calls that are sent again, and calls that are not."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto.v1 import AppendLogsRequest, AppendLogsResponse, LogLine

from aiauto import connect
from tests.connect.conftest import (
    APPEND,
    COUNT,
    ECHO,
    JOIN,
    PUT,
    READ,
    TAIL,
    Lines,
    Serving,
    http_answer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiauto.connect.contract import Context
    from tests.connect.conftest import Wire

    StartWire = Callable[..., Awaitable[Wire]]

LINE = LogLine(text="hello")
QUICK = connect.RetryPolicy(attempts=3, initial_delay=0.01)
GOOD = http_answer("200 OK", bytes(LINE), "application/proto")
UNAVAILABLE = http_answer("503 Service Unavailable")
BROKEN = GOOD.replace(b"content-length: 7", b"connection: close\r\ncontent-length: 70")


@pytest.mark.parametrize("method", [READ, PUT])
@pytest.mark.parametrize("failure", [None, UNAVAILABLE, BROKEN], ids=["lost", "503", "broken"])
async def test_what_may_be_repeated_is(wire: StartWire, method: Any, failure: Any) -> None:
    server = await wire(failure, failure, GOOD)
    async with connect.Transport(server.url, retries=QUICK) as transport:
        assert await transport.unary(method, LINE) == LINE
    assert len(server.requests) == 3


@pytest.mark.parametrize("failure", [None, UNAVAILABLE, BROKEN], ids=["lost", "503", "broken"])
async def test_what_may_not_be_repeated_is_not(wire: StartWire, failure: Any) -> None:
    server = await wire(failure, GOOD)
    async with connect.Transport(server.url, retries=QUICK) as transport:
        with pytest.raises(connect.UnavailableError):
            await transport.unary(ECHO, LINE)
    assert len(server.requests) == 1


async def test_a_request_id_makes_a_call_repeatable(wire: StartWire) -> None:
    good = http_answer("200 OK", b"", "application/proto")
    server = await wire(None, good)
    async with connect.Transport(server.url, retries=QUICK) as transport:
        request = AppendLogsRequest(lines=[LINE], request_id="1")
        assert await transport.unary(APPEND, request) == AppendLogsResponse()
    assert len(server.requests) == 2
    assert server.requests[0].partition(b"\r\n\r\n")[2] == bytes(request)
    assert server.requests[1].partition(b"\r\n\r\n")[2] == bytes(request)

    server = await wire(None, good)
    async with connect.Transport(server.url, retries=QUICK) as transport:
        with pytest.raises(connect.UnavailableError):
            await transport.unary(APPEND, AppendLogsRequest(lines=[LINE]))
    assert len(server.requests) == 1


async def test_attempts_are_counted(wire: StartWire) -> None:
    server = await wire(UNAVAILABLE)
    async with connect.Transport(server.url, retries=QUICK) as transport:
        with pytest.raises(connect.UnavailableError):
            await transport.unary(READ, LINE)
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [code for code in connect.Code if code.value != "unavailable"])
async def test_other_errors_are_final(serve: Serving, code: connect.Code) -> None:
    calls = 0

    async def unary(request: LogLine, context: Context) -> LogLine:
        nonlocal calls
        calls += 1
        raise connect.RpcError.of(code, "no")

    async with connect.Transport(await serve(Lines(unary=unary)), retries=QUICK) as transport:
        with pytest.raises(connect.RpcError, match="no"):
            await transport.unary(READ, LINE)
    assert calls == 1


async def test_a_server_that_starts_late(serve: Serving) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    policy = connect.RetryPolicy(attempts=200, initial_delay=0.01, max_delay=0.05)
    async with connect.Transport(f"http://127.0.0.1:{port}", retries=policy) as transport:
        # Nothing of these calls was sent, so all of them can wait for the server.
        calls = [
            asyncio.ensure_future(transport.unary(ECHO, LINE)),
            asyncio.ensure_future(transport.client_stream(JOIN, [LINE, LINE])),
            asyncio.ensure_future(anext(transport.server_stream(TAIL, LogLine(sequence=1)))),
        ]
        await asyncio.sleep(0.1)
        assert not any(call.done() for call in calls)
        await serve(port=port)
        found = await asyncio.wait_for(asyncio.gather(*calls), 10)
    assert found == [LINE, LogLine(text="hello hello"), LogLine()]


async def test_the_deadline_holds_over_all_attempts(wire: StartWire) -> None:
    server = await wire(UNAVAILABLE)
    policy = connect.RetryPolicy(attempts=1000, initial_delay=0.05, max_delay=0.05)
    started = time.monotonic()
    async with connect.Transport(server.url, retries=policy) as transport:
        with pytest.raises((connect.UnavailableError, connect.DeadlineExceededError)):
            await transport.unary(READ, LINE, timeout=0.5)
    assert time.monotonic() - started < 2
    left = [
        int(line.partition(b":")[2])
        for request in server.requests
        for line in request.lower().split(b"\r\n")
        if line.startswith(b"connect-timeout-ms:")
    ]
    assert len(left) == len(server.requests) > 2
    assert left == sorted(left, reverse=True)  # each attempt tells what is left
    assert 0 < left[-1] < left[0] <= 500


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address has answered yet: the ports of other tests are given out again."""
    monkeypatch.setattr("aiauto.connect.channel._answered", set[str]())


PATIENT = connect.RetryPolicy(attempts=3, initial_delay=0.01, max_delay=0.02, patience=30)


@pytest.mark.usefixtures("unheard")
async def test_a_server_that_has_answered_is_waited_for(
    wire: StartWire, caplog: pytest.LogCaptureFixture
) -> None:
    server = await wire(GOOD, *[UNAVAILABLE] * 6, GOOD, UNAVAILABLE)
    async with connect.Transport(server.url, retries=PATIENT) as transport:
        assert await transport.unary(READ, LINE) == LINE
        assert caplog.records == []
        # By another transport too: programs make some for a few calls only.
        async with connect.Transport(server.url, retries=PATIENT) as other:
            assert await other.unary(READ, LINE) == LINE
        assert len(server.requests) == 8
        (told,) = caplog.records
        assert re.fullmatch(r"Trying again for up to 30 s: .*HTTP 503.*", told.getMessage())
        # Patience is for what may be repeated, and for calls with one answer.
        with pytest.raises(connect.UnavailableError):
            await transport.unary(ECHO, LINE)
        assert len(server.requests) == 9
        with pytest.raises(connect.UnavailableError):
            await anext(transport.server_stream(COUNT, LINE))
        assert len(server.requests) == 12


@pytest.mark.usefixtures("unheard")
async def test_a_server_that_never_answered_is_not_waited_for(wire: StartWire) -> None:
    server = await wire(UNAVAILABLE)
    async with connect.Transport(server.url, retries=PATIENT) as transport:
        with pytest.raises(connect.UnavailableError):
            await transport.unary(READ, LINE)
    assert len(server.requests) == 3


async def test_patience_has_an_end(wire: StartWire) -> None:
    server = await wire(GOOD, UNAVAILABLE)
    policy = connect.RetryPolicy(attempts=2, initial_delay=0.01, max_delay=0.01, patience=0.3)
    async with connect.Transport(server.url, retries=policy) as transport:
        assert await transport.unary(READ, LINE) == LINE
        with pytest.raises(connect.UnavailableError):
            await transport.unary(READ, LINE)
    assert len(server.requests) > 5


async def test_a_server_that_asks_for_time(wire: StartWire) -> None:
    server = await wire(http_answer("503 Service Unavailable", retry_after="1"), GOOD)
    started = time.monotonic()
    async with connect.Transport(server.url, retries=QUICK) as transport:
        assert await transport.unary(READ, LINE) == LINE
    assert time.monotonic() - started >= 1


def retry_info(seconds: int, nanos: int = 0) -> connect.ErrorDetail:
    """A `google.rpc.RetryInfo`, written by hand: field 1 is a duration of two numbers below 128."""
    duration = bytes([0x08, seconds, 0x10, nanos])
    return connect.ErrorDetail("google.rpc.RetryInfo", bytes([0x0A, len(duration)]) + duration)


def test_the_detail_that_asks_for_time() -> None:
    assert connect.retry_info(3 + 5e-9) == retry_info(3, 5)
    assert connect.retry_info(0.25).debug == {"retryDelay": "0.250000000s"}


class Reluctant(Lines):
    """Refuses some calls before it answers.

    Attributes:
        asked: When it was called.
    """

    def __init__(self, times: int, refusal: connect.RpcError) -> None:
        super().__init__(unary=self._answer, stream=self._stream)
        self.asked: list[float] = []
        self._times = times
        self._refusal = refusal

    async def _answer(self, request: LogLine, _context: Context) -> LogLine:
        self.asked.append(time.monotonic())
        if len(self.asked) <= self._times:
            raise self._refusal
        return request

    async def _stream(self, request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        yield await self._answer(request, context)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_rate_limit_is_waited_for(serve: Serving, *, streams: bool) -> None:
    # More often than a call is sent again after failures.
    lines = Reluctant(
        5, connect.ResourceExhaustedError("slowly", details=[connect.retry_info(0.02)])
    )
    url = await serve(lines)
    async with connect.Transport(url, retries=QUICK) as transport:
        if streams:
            assert [line async for line in transport.server_stream(COUNT, LINE)] == [LINE]
        else:
            # Not even this one, which may not be repeated, was done.
            assert await transport.unary(ECHO, LINE) == LINE
    assert len(lines.asked) == 6
    assert all(later - one >= 0.02 for one, later in pairwise(lines.asked))


async def test_a_rate_limit_is_waited_for_until_the_deadline(serve: Serving) -> None:
    asked: list[float] = []

    async def unary(request: LogLine, context: Context) -> LogLine:
        asked.append(time.monotonic())
        raise connect.ResourceExhaustedError("slowly", details=[connect.retry_info(0.05)])

    url = await serve(Lines(unary=unary))
    async with connect.Transport(url, retries=QUICK, timeout=0.5) as transport:
        # The deadline may come while it waits, or in the middle of an attempt.
        given_up = (connect.ResourceExhaustedError, connect.DeadlineExceededError)
        with pytest.raises(given_up, match="slowly"):
            await transport.unary(READ, LINE)
        assert len(asked) > 3
        asked.clear()
    async with connect.Transport(url, retries=connect.NO_RETRIES) as transport:
        with pytest.raises(connect.ResourceExhaustedError, match="slowly"):
            await transport.unary(READ, LINE)
    assert len(asked) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_server_that_asks_for_time_in_a_detail(serve: Serving, *, streams: bool) -> None:
    lines = Reluctant(1, connect.UnavailableError("warming up", details=[retry_info(1)]))
    url = await serve(lines)
    async with connect.Transport(url, retries=QUICK) as transport:
        if streams:
            assert [line async for line in transport.server_stream(COUNT, LINE)] == [LINE]
        else:
            assert await transport.unary(READ, LINE) == LINE
    assert lines.asked[1] - lines.asked[0] >= 1


@pytest.mark.parametrize(("seconds", "timeout"), [("5", 1), ("3600", None)])
async def test_a_server_that_asks_for_too_much_time(
    wire: StartWire, seconds: str, timeout: float | None
) -> None:
    server = await wire(http_answer("503 Service Unavailable", retry_after=seconds), GOOD)
    started = time.monotonic()
    async with connect.Transport(server.url, retries=QUICK) as transport:
        with pytest.raises(connect.UnavailableError, match="HTTP 503"):
            await transport.unary(READ, LINE, timeout=timeout)
    assert time.monotonic() - started < 1


async def test_a_stale_connection_is_invisible(wire: StartWire) -> None:
    # The first answer leaves the connection open, and the second request finds it closed.
    server = await wire(GOOD, None, GOOD)
    async with connect.Transport(
        server.url, retries=connect.RetryPolicy(attempts=2, initial_delay=30, max_delay=30)
    ) as transport:
        assert await transport.unary(READ, LINE) == LINE
        started = time.monotonic()
        assert await transport.unary(PUT, LINE) == LINE
    assert time.monotonic() - started < 5  # at once, without the pause


def close_after_answering(listener: socket.socket) -> None:
    """Answers a request on each of two connections, and closes them as if they had been idle."""
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            received = b""
            while not received.endswith(bytes(LINE)):
                received += connection.recv(65536)
            connection.sendall(GOOD)
            time.sleep(0.05)


async def test_a_stale_connection_that_a_busy_loop_did_not_notice() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as threads,
    ):
        listener.settimeout(10)
        serving = threads.submit(close_after_answering, listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with connect.Transport(url, retries=QUICK) as transport:
            assert await transport.unary(ECHO, LINE) == LINE
            time.sleep(0.3)  # noqa: ASYNC251 - the program computes, and the loop is not asked
            assert await transport.unary(ECHO, LINE) == LINE
        serving.result(5)


async def test_a_cancelled_call_is_not_repeated(wire: StartWire) -> None:
    asked = asyncio.Event()

    async def refuse(writer: asyncio.StreamWriter) -> None:
        writer.write(UNAVAILABLE)
        asked.set()

    server = await wire(refuse)
    policy = connect.RetryPolicy(attempts=100, initial_delay=30, max_delay=30)
    async with connect.Transport(server.url, retries=policy) as transport:
        call = asyncio.ensure_future(transport.unary(READ, LINE))
        await asyncio.wait_for(asked.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(server.requests) == 1


# -------------------------------------------------------------------------------- streams


async def test_a_stream_begins_again_before_its_first_message(serve: Serving) -> None:
    calls = 0

    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise connect.UnavailableError("not yet")
        yield LINE

    url = await serve(Lines(stream=stream))
    async with connect.Transport(url, retries=QUICK) as transport:
        assert [line async for line in transport.server_stream(COUNT, LINE)] == [LINE]
        assert calls == 3
        calls = 0
        with pytest.raises(connect.UnavailableError, match="not yet"):
            await anext(transport.server_stream(TAIL, LINE))
        assert calls == 1


async def test_a_stream_does_not_begin_again_after_that(serve: Serving) -> None:
    calls = 0

    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        nonlocal calls
        calls += 1
        yield LINE
        raise connect.UnavailableError("no more")

    async with connect.Transport(await serve(Lines(stream=stream)), retries=QUICK) as transport:
        found = transport.server_stream(COUNT, LINE)
        assert await anext(found) == LINE
        with pytest.raises(connect.UnavailableError, match="no more"):
            await anext(found)
    assert calls == 1


async def test_a_stream_over_a_lost_connection(wire: StartWire) -> None:
    body = struct.pack(">BI", 0, len(bytes(LINE))) + bytes(LINE) + struct.pack(">BI", 2, 2) + b"{}"
    server = await wire(None, http_answer("200 OK", body, "application/connect+proto"))
    async with connect.Transport(server.url, retries=QUICK) as transport:
        assert [line async for line in transport.server_stream(COUNT, LINE)] == [LINE]
    assert len(server.requests) == 2


def test_pauses_grow_and_scatter() -> None:
    policy = connect.RetryPolicy(attempts=10, initial_delay=1, max_delay=4)
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (4, 4), (9, 4)):
        delays = [policy.delay(attempt) for _ in range(200)]
        assert 0 <= min(delays) < 0.2 * longest
        assert 0.8 * longest < max(delays) <= longest


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"initial_delay": -1}, {"max_delay": -1}, {"patience": -1}]
)
def test_policies_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a RetryPolicy needs"):
        connect.RetryPolicy(**wrong)

"""Blocking calls: in threads, after a fork, inside running loops, and when they are interrupted."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto.v1 import LogLine

from aiauto import connect
from aiauto.connect import background
from tests.connect.conftest import CHAT, COUNT, ECHO, JOIN, TAIL, ThreadedServer, http_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiauto.connect.contract import Context

LINE = LogLine(text="hello")


@pytest.fixture
def transport(threaded_server: ThreadedServer) -> Iterator[connect.SyncTransport]:
    with connect.SyncTransport(threaded_server.url) as transport:
        yield transport


class Endless:
    """A stream that goes on until its caller goes away."""

    def __init__(self) -> None:
        self.left = threading.Event()

    async def __call__(self, _request: LogLine, _context: Context) -> AsyncIterator[LogLine]:
        try:
            number = 0
            while True:
                yield LogLine(sequence=number)
                number += 1
                await asyncio.sleep(0.01 if number < 3 else 60)
        finally:
            self.left.set()


def test_every_kind(transport: connect.SyncTransport) -> None:
    assert transport.unary(ECHO, LINE) == LINE
    found = transport.server_stream(COUNT, LogLine(sequence=3))
    assert [line.sequence for line in found] == [0, 1, 2]
    lines = [LogLine(text=text) for text in "abcde"]
    assert transport.client_stream(JOIN, lines).text == "a b c d e"
    assert transport.client_stream(JOIN, iter(())) == LogLine()
    assert [line.text for line in transport.bidi_stream(CHAT, iter(lines))] == list("ABCDE")


def test_errors(threaded_server: ThreadedServer, transport: connect.SyncTransport) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        raise connect.NotFoundError("no such line")

    threaded_server.unary = unary
    with pytest.raises(connect.NotFoundError, match="no such line"):
        transport.unary(ECHO, LINE)


def test_deadline(threaded_server: ThreadedServer, transport: connect.SyncTransport) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        await asyncio.sleep(30)
        return request

    threaded_server.unary = unary
    with pytest.raises(connect.DeadlineExceededError):
        transport.unary(ECHO, LINE, timeout=0.1)


def test_response_metadata(
    threaded_server: ThreadedServer, transport: connect.SyncTransport
) -> None:
    async def unary(request: LogLine, context: Context) -> LogLine:
        context.response_trailers["x-cost"] = "3"
        return request

    threaded_server.unary = unary
    with connect.ResponseMetadata() as answer:
        transport.unary(ECHO, LINE)
    assert answer.trailers["x-cost"] == "3"


# -------------------------------------------------------------------------------- streams


def test_leaving_a_stream_early(
    threaded_server: ThreadedServer, transport: connect.SyncTransport
) -> None:
    threaded_server.stream = endless = Endless()
    with transport.server_stream(COUNT, LINE) as stream:
        for line in stream:
            if line.sequence == 1:
                break
    assert endless.left.wait(5)
    assert list(stream) == []
    stream.close()


def test_dropping_a_stream(
    threaded_server: ThreadedServer, transport: connect.SyncTransport
) -> None:
    threaded_server.stream = endless = Endless()
    for _ in transport.server_stream(COUNT, LINE):
        break
    assert endless.left.wait(5)


def test_streams_have_headers(
    threaded_server: ThreadedServer, transport: connect.SyncTransport
) -> None:
    async def stream(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        context.response_headers["x-kind"] = "lines"
        context.response_trailers["x-cost"] = "3"
        yield request

    threaded_server.stream = stream
    found = transport.server_stream(COUNT, LINE)
    assert list(found) == [LINE]
    assert found.headers["x-kind"] == "lines"
    assert found.trailers["x-cost"] == "3"


def test_an_error_of_the_callers_own_iterable(transport: connect.SyncTransport) -> None:
    def lines() -> Iterator[LogLine]:
        yield LINE
        # In the caller's own thread, where it may make calls itself.
        assert transport.unary(ECHO, LINE) == LINE
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        transport.client_stream(JOIN, lines())
    with pytest.raises(KeyError, match="mine"):
        next(transport.bidi_stream(CHAT, lines()))


def test_answers_that_come_before_all_is_sent(transport: connect.SyncTransport) -> None:
    def slow() -> Iterator[LogLine]:
        for text in "abcd":
            yield LogLine(text=text)
            time.sleep(0.05)

    assert [line.text for line in transport.bidi_stream(CHAT, slow(), timeout=10)] == list("ABCD")


def test_a_call_that_ends_before_its_requests(threaded_server: ThreadedServer) -> None:
    def endless() -> Iterator[LogLine]:
        while True:
            yield LINE
            time.sleep(0.01)

    with (
        connect.SyncTransport(threaded_server.url, timeout=0.3) as transport,
        pytest.raises(connect.DeadlineExceededError),
    ):
        transport.client_stream(JOIN, endless())


# ---------------------------------------------------------------- threads, loops, processes


@pytest.mark.parametrize("kind", ["unary", "server", "client"])
def test_closing_ends_the_calls_of_other_threads(
    threaded_server: ThreadedServer, transport: connect.SyncTransport, kind: str
) -> None:
    asked = threading.Event()

    async def unary(request: LogLine, _context: Context) -> LogLine:
        asked.set()
        await asyncio.sleep(60)
        return request

    def lines() -> Iterator[LogLine]:
        while True:
            yield LINE
            asked.set()
            time.sleep(0.01)

    threaded_server.unary = unary
    threaded_server.stream = endless = Endless()

    def call() -> None:
        if kind == "unary":
            transport.unary(ECHO, LINE)
        elif kind == "client":
            transport.client_stream(JOIN, lines())
        else:
            for line in transport.server_stream(COUNT, LINE):
                if line.sequence == 2:
                    asked.set()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(call)
        assert asked.wait(10)
        transport.close()
        with pytest.raises(connect.CanceledError, match="its transport was closed"):
            running.result(10)
    if kind == "server":
        assert endless.left.wait(10)


def test_closing_in_several_threads(transport: connect.SyncTransport) -> None:
    transport.unary(ECHO, LINE)
    with ThreadPoolExecutor(8) as threads:
        for closing in [threads.submit(transport.close) for _ in range(64)]:
            closing.result(10)
    assert transport.unary(ECHO, LINE) == LINE


def test_threads(transport: connect.SyncTransport) -> None:
    def call(number: int) -> int:
        return transport.unary(ECHO, LogLine(sequence=number)).sequence

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(call, range(200))) == list(range(200))


def test_calls_run_in_their_callers_threads(threaded_server: ThreadedServer) -> None:
    peers: set[object] = set()

    async def unary(request: LogLine, context: Context) -> LogLine:
        assert isinstance(context, connect.CallContext)
        transport = context.http_request.transport
        assert transport is not None
        peers.add(transport.get_extra_info("peername"))
        return request

    threaded_server.unary = unary
    askers: list[threading.Thread] = []

    def token() -> str:
        askers.append(threading.current_thread())
        return "secret"

    callers: list[threading.Thread] = []
    with connect.SyncTransport(threaded_server.url, token=token) as transport:
        for _ in range(3):
            callers.append(threading.Thread(target=transport.unary, args=(ECHO, LINE)))
            callers[-1].start()
            callers[-1].join()
    assert askers == callers
    # Connections do not end with the threads that have used them.
    assert len(peers) == 1


def test_a_token_that_is_asked_for_by_a_call(threaded_server: ThreadedServer) -> None:
    with connect.SyncTransport(threaded_server.url) as inner:

        def token() -> str:
            return inner.unary(ECHO, LogLine(text="secret")).text

        with connect.SyncTransport(threaded_server.url, token=token) as transport:
            assert transport.unary(ECHO, LINE) == LINE


def test_connections_that_the_server_closes_meanwhile() -> None:
    requests: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(3):
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(http_answer("200 OK", content_type="application/proto"))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        serving = threads.submit(serve, listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with connect.SyncTransport(url) as transport:
            for _ in range(3):
                # A call that must not be sent twice, so it must not be lost either.
                assert transport.unary(ECHO, LogLine()) == LogLine()
                time.sleep(0.15)
        serving.result(10)
    assert len(requests) == 3


OPEN_FILES = Path("/proc/self/fd")


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="only Linux tells what is open")
@pytest.mark.parametrize("how", ["close", "drop", "in a loop"])
def test_nothing_is_left_open(threaded_server: ThreadedServer, how: str) -> None:
    def count() -> int:
        return len(list(OPEN_FILES.iterdir()))

    background.get()
    before = count()
    transport = connect.SyncTransport(threaded_server.url)
    with ThreadPoolExecutor(4) as threads:
        for calling in [threads.submit(transport.unary, ECHO, LINE) for _ in range(20)]:
            calling.result(10)
    assert count() > before

    async def close() -> None:
        transport.close()

    if how == "close":
        transport.close()
    elif how == "in a loop":
        asyncio.run(close())
    else:
        del transport, close
        gc.collect()
    # The server closes its ends of the connections in its own time.
    deadline = time.monotonic() + 5
    while count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count() <= before


async def test_inside_a_running_loop(threaded_server: ThreadedServer) -> None:
    # As in a notebook: it blocks that loop, and works.
    with connect.SyncTransport(threaded_server.url) as transport:
        assert transport.unary(ECHO, LINE) == LINE


def test_its_own_loop_is_refused(transport: connect.SyncTransport) -> None:
    async def call() -> LogLine:
        return transport.unary(ECHO, LINE)

    running = background.get().submit(call())
    with pytest.raises(RuntimeError, match="would wait for itself"):
        running.result(5)


def test_pickle(transport: connect.SyncTransport) -> None:
    transport.unary(ECHO, LINE)
    with pickle.loads(pickle.dumps(transport)) as copied:
        assert copied.unary(ECHO, LINE) == LINE


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork(transport: connect.SyncTransport) -> None:
    def outcome() -> bytes:
        try:
            stream = transport.server_stream(COUNT, LogLine(sequence=3))
            assert transport.unary(ECHO, LINE) == LINE
            assert len(list(stream)) == 3
            transport.close()
        except BaseException as error:  # noqa: BLE001 - it must reach the parent
            return repr(error).encode()
        return b"well"

    assert transport.unary(ECHO, LINE) == LINE
    kept = transport.server_stream(TAIL, LogLine(sequence=2))
    next(kept)
    for _ in range(3):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, outcome())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as result:
            assert result.read() == b"well"
        os.waitpid(child, 0)
        # What the parent had open still works.
        assert transport.unary(ECHO, LINE) == LINE
    assert len(list(kept)) == 1


PROGRAM = """
import sys, threading
from aiauto import connect
from aiauto.connect.contract import Method, StreamKind
from aiauto_gen.aiauto.v1 import LogLine

ECHO = Method("acme.log.v1.LineService", "Echo", LogLine, LogLine)
COUNT = Method("acme.log.v1.LineService", "Count", LogLine, LogLine, kind=StreamKind.SERVER_STREAM)
transport = connect.SyncTransport(sys.argv[1])
"""


def run(program: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + program, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_program_may_just_end(threaded_server: ThreadedServer) -> None:
    program = """
transport.unary(ECHO, LogLine())
stream = transport.server_stream(COUNT, LogLine(sequence=5))
next(stream)
print("well")
"""
    done = run(program, threaded_server.url)
    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)


def test_a_generator_that_is_left_in_the_middle(threaded_server: ThreadedServer) -> None:
    program = """
def numbers():
    with transport.server_stream(COUNT, LogLine(sequence=5)) as stream:
        for line in stream:
            yield line.sequence

left = numbers()
print(next(left))
# In a cycle: only the last collection of garbage, when no loop runs any more, comes to it.
left_too = [numbers()]
left_too.append(left_too)
print(next(left_too[0]))
"""
    done = run(program, threaded_server.url)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n0\n", "", 0)


def test_a_transport_that_is_forgotten(threaded_server: ThreadedServer) -> None:
    program = """
import gc
for _ in range(3):
    transport = connect.SyncTransport(sys.argv[1])
    transport.unary(ECHO, LogLine())
    del transport
    gc.collect()
transport = connect.SyncTransport(sys.argv[1])
transport.unary(ECHO, LogLine())
print("well")
"""
    done = run(program, threaded_server.url)
    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)


@pytest.mark.parametrize("child_calls", [True, False])
def test_a_forked_program_may_just_end(
    threaded_server: ThreadedServer, *, child_calls: bool
) -> None:
    program = f"""
import gc, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
transport.unary(ECHO, LogLine())
stream = transport.server_stream(COUNT, LogLine(sequence=5))
next(stream)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(stream)) == 4
    transport.unary(ECHO, LogLine())
else:
    del stream
    gc.collect()
    if {child_calls}:
        transport.unary(ECHO, LogLine())
print("well", flush=True)
"""
    done = run(program, threaded_server.url)
    assert (done.stdout, done.stderr, done.returncode) == ("well\nwell\n", "", 0)


INTERRUPTED_WRITE = """
import signal
from asyncio import selector_events

def interrupt(name):
    write = getattr(selector_events._SelectorSocketTransport, name)
    def interrupted(self, data):
        setattr(selector_events._SelectorSocketTransport, name, write)
        write(self, data)
        signal.raise_signal(signal.SIGINT)
    setattr(selector_events._SelectorSocketTransport, name, interrupted)

interrupt("write")
interrupt("writelines")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process are POSIX's")
@pytest.mark.parametrize("in_the_loop", [True, False])
def test_ctrl_c_cancels_the_call(threaded_server: ThreadedServer, *, in_the_loop: bool) -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def unary(request: LogLine, context: Context) -> LogLine:
        if started.is_set():
            return request
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    threaded_server.unary = unary
    program = """
try:
    transport.unary(ECHO, LogLine())
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
print(transport.unary(ECHO, LogLine(text="again")).text)
"""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM + (INTERRUPTED_WRITE if in_the_loop else "") + program,
            threaded_server.url,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert started.wait(20)
        if not in_the_loop:
            process.send_signal(signal.SIGINT)
        assert cancelled.wait(10)  # while the program goes on
        output, _ = process.communicate(timeout=10)
    assert output == "interrupted\nagain\n"
    assert process.returncode == 0


STUBBORN = """
import asyncio
from aiauto.connect import Transport
from aiauto.connect.loop_pool import LoopPool

async def call():
    print("began", flush=True)
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        print("goes on", flush=True)
        await asyncio.sleep(600)

LoopPool(Transport("http://127.0.0.1:1")).run(call())
"""


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process are POSIX's")
def test_a_second_ctrl_c_ends_a_call_that_the_first_did_not_end() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        process.send_signal(signal.SIGINT)
        # It was told, and waits for longer than anybody would.
        assert process.stdout.readline() == "goes on\n"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            _, shown = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert shown.rstrip().endswith("KeyboardInterrupt")

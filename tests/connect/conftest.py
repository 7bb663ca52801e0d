"""A service with a method of every kind, whose answers each test chooses, on a real port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from aiauto_gen.aiauto.v1 import AppendLogsRequest, AppendLogsResponse, LogLine
from aiohttp import web

from aiauto import connect
from aiauto.connect.contract import BoundMethod, Context, Idempotency, Method, StreamKind

SERVICE: Final = "acme.log.v1.LineService"

ECHO: Final = Method(SERVICE, "Echo", LogLine, LogLine)
READ: Final = Method(SERVICE, "Read", LogLine, LogLine, idempotency=Idempotency.NO_SIDE_EFFECTS)
PUT: Final = Method(SERVICE, "Put", LogLine, LogLine, idempotency=Idempotency.IDEMPOTENT)
APPEND: Final = Method(SERVICE, "Append", AppendLogsRequest, AppendLogsResponse, request_id=True)
COUNT: Final = Method(
    SERVICE,
    "Count",
    LogLine,
    LogLine,
    kind=StreamKind.SERVER_STREAM,
    idempotency=Idempotency.NO_SIDE_EFFECTS,
)
TAIL: Final = Method(SERVICE, "Tail", LogLine, LogLine, kind=StreamKind.SERVER_STREAM)
JOIN: Final = Method(SERVICE, "Join", LogLine, LogLine, kind=StreamKind.CLIENT_STREAM)
CHAT: Final = Method(SERVICE, "Chat", LogLine, LogLine, kind=StreamKind.BIDI_STREAM)

UnaryHandler = Callable[[LogLine, Context], Awaitable[LogLine]]
StreamHandler = Callable[[LogLine, Context], AsyncIterator[LogLine]]


async def echo(request: LogLine, context: Context) -> LogLine:
    return request


async def append(request: AppendLogsRequest, context: Context) -> AppendLogsResponse:
    return AppendLogsResponse()


async def count(request: LogLine, context: Context) -> AsyncIterator[LogLine]:
    for number in range(request.sequence):
        yield LogLine(sequence=number)


async def join(requests: AsyncIterator[LogLine], context: Context) -> LogLine:
    return LogLine(text=" ".join([line.text async for line in requests]))


async def chat(requests: AsyncIterator[LogLine], context: Context) -> AsyncIterator[LogLine]:
    lines = [line async for line in requests]
    for line in lines:
        yield LogLine(text=line.text.upper())


@dataclass
class Lines:
    """The service. Each method answers by the function given for it."""

    unary: UnaryHandler = echo
    append: Callable[[AppendLogsRequest, Context], Awaitable[AppendLogsResponse]] = append
    stream: StreamHandler = count
    join: Callable[[AsyncIterator[LogLine], Context], Awaitable[LogLine]] = join
    chat: Callable[[AsyncIterator[LogLine], Context], AsyncIterator[LogLine]] = chat

    def __bound_methods__(self) -> list[BoundMethod]:
        return [
            BoundMethod(ECHO, self.unary),
            BoundMethod(READ, self.unary),
            BoundMethod(PUT, self.unary),
            BoundMethod(APPEND, self.append),
            BoundMethod(COUNT, self.stream),
            BoundMethod(TAIL, self.stream),
            BoundMethod(JOIN, self.join),
            BoundMethod(CHAT, self.chat),
        ]


@dataclass
class Serving:
    """Starts servers and stops them in the end."""

    runners: list[web.AppRunner] = field(default_factory=list[web.AppRunner])

    async def __call__(self, service: Lines | None = None, port: int = 0, **options: Any) -> str:
        """Serves on a free port (or a given one) and gives the address."""
        app = web.Application()
        connect.add_services(app, [service or Lines()], **options)
        return await self.app(app, port=port)

    async def app(self, app: web.Application, port: int = 0) -> str:
        runner = connect.app_runner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        self.runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        while self.runners:
            await self.runners.pop().cleanup()


@pytest.fixture
async def serve() -> AsyncIterator[Serving]:
    serving = Serving()
    yield serving
    await serving.stop()


class ThreadedServer:
    """The service in a thread of its own, for tests that block."""

    def __init__(self) -> None:
        self.service = Lines(unary=self._unary, stream=self._stream)
        self.unary: UnaryHandler = echo
        self.stream: StreamHandler = count
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    async def _unary(self, request: LogLine, context: Context) -> LogLine:
        return await self.unary(request, context)

    async def _stream(self, request: LogLine, context: Context) -> AsyncIterator[LogLine]:
        async for line in self.stream(request, context):
            yield line

    def __enter__(self) -> ThreadedServer:
        self._thread.start()
        self._serving = Serving()
        starting = asyncio.run_coroutine_threadsafe(self._serving(self.service), self._loop)
        self.url = starting.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._serving.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def threaded_server() -> Iterator[ThreadedServer]:
    with ThreadedServer() as server:
        yield server


@dataclass
class Wire:
    """A server of bytes: what stands between a client and its server, or something else entirely.

    Attributes:
        answers: What to answer to one request after the other; the last one is kept. `None` closes
            the connection without an answer; a function answers by itself.
        requests: The requests as they came, headers and body.
    """

    answers: list[bytes | Callable[[asyncio.StreamWriter], Awaitable[None]] | None]
    requests: list[bytes] = field(default_factory=list[bytes])
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        size = int(line.partition(b":")[2])
                self.requests.append(head + await reader.readexactly(size))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                if isinstance(answer, bytes):
                    writer.write(answer)
                    if b"connection: close" in answer.lower():
                        return
                else:
                    await answer(writer)
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def wire() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    servers: list[asyncio.Server] = []

    async def start(*answers: Any) -> Wire:
        wire = Wire(list(answers))
        server = await asyncio.start_server(wire.handle, "127.0.0.1", 0)
        servers.append(server)
        wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return wire

    yield start
    for server in servers:
        server.close()


def http_answer(status: str, body: bytes = b"", content_type: str = "", **headers: str) -> bytes:
    """An answer in HTTP."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    if content_type:
        lines.append(f"content-type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body

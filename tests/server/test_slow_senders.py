"""Senders who begin a request and do not go on, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from aiohttp import web

from aiauto.server import slow_senders
from aiauto.server.slow_senders import SlowSenders
from tests.server.conftest import RunningApp, serving
from tests.server.people import Person

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
    from pathlib import Path

LIMIT = 0.4
CALL = "/aiauto.v1.AIAutoService/CreateStudy"


class Sender:
    """A connection, and what comes back on it."""

    def __init__(self, url: str) -> None:
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host
        assert port
        self.host = f"{host}:{port}"
        self.socket = socket.create_connection((host, port), timeout=60)

    def head(self, path: str, length: int, *more: str) -> bytes:
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.host}", f"Content-Length: {length}", *more]
        return "\r\n".join([*lines, "", ""]).encode()

    async def send(self, data: bytes) -> None:
        await asyncio.to_thread(self.socket.sendall, data)

    async def answer(self) -> bytes:
        """All that comes until the server closes the connection."""

        def receive() -> bytes:
            parts: list[bytes] = []
            with contextlib.suppress(ConnectionResetError):
                while part := self.socket.recv(65536):
                    parts.append(part)
            return b"".join(parts)

        return await asyncio.to_thread(receive)


@contextlib.contextmanager
def sender(url: str) -> Generator[Sender]:
    one = Sender(url)
    with one.socket:
        yield one


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    async with serving(tmp_path / "data", header_timeout=LIMIT, body_timeout=LIMIT) as running:
        yield running


@pytest.mark.parametrize(
    "beginning", [b"", b"POST ", b"POST /login HTTP/1.1\r\nHost: localhost\r\nX-Long: abc"]
)
async def test_a_head_that_does_not_come(app: RunningApp, beginning: bytes) -> None:
    with sender(app.url) as one:
        await one.send(beginning)
        assert await one.answer() == b""


async def test_a_head_that_comes_byte_by_byte(app: RunningApp) -> None:
    with sender(app.url) as one:
        await one.send(b"GET / HTTP/1.1\r\nX-Long: ")
        answer = asyncio.create_task(one.answer())
        while not answer.done():
            with contextlib.suppress(OSError):
                await one.send(b"a")
            await asyncio.wait([answer], timeout=LIMIT / 10)
        assert await answer == b""


async def test_half_a_body_of_a_call(app: RunningApp) -> None:
    token = await app.token_of("alice")
    with sender(app.url) as one:
        kind = "Content-Type: application/json"
        await one.send(one.head(CALL, 9, kind, f"Authorization: Bearer {token}") + b"{  ")
        head, _, body = (await one.answer()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 504 ")
        told = json.loads(body)
        assert told["code"] == "deadline_exceeded"
        assert "AIAUTO_BODY_TIMEOUT" in told["message"]


async def test_half_a_body_of_a_page(app: RunningApp) -> None:
    with sender(app.url) as one:
        kind = "Content-Type: application/x-www-form-urlencoded"
        await one.send(one.head("/login", 99, kind, f"Origin: http://{one.host}") + b"token=ab")
        answer = await one.answer()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"AIAUTO_BODY_TIMEOUT" in answer


async def test_a_body_that_comes_slowly_but_steadily(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_senders, "MIN_BYTES_PER_SECOND", 1)
    token = await app.token_of("alice")
    with sender(app.url) as one:
        kind = "Content-Type: application/json"
        bearer = f"Authorization: Bearer {token}"
        await one.send(one.head(CALL, 22, kind, bearer, "Connection: close"))
        for _ in range(20):
            await one.send(b" ")
            await asyncio.sleep(LIMIT / 5)
        await one.send(b"{}")
        assert b'"code":"invalid_argument"' in await one.answer()


async def test_a_connection_may_rest_between_two_requests(app: RunningApp) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with sender(app.url) as one:
        for _ in range(2):
            await one.send(request)
            answer = await asyncio.to_thread(one.socket.recv, 65536)
            assert answer.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(2 * LIMIT)


async def test_a_stream_of_answers_may_be_long(app: RunningApp) -> None:
    # Nobody runs the batch.
    app.start_no_workers()
    person = Person(app, await app.token_of("alice"))
    batch = await person.begin("study")
    service = stubs.ProgressServiceClient(person.transport)
    request = v1.WatchTrialBatchRequest(trialbatch_name=batch)
    phases: list[str] = []
    async with service.watch_trial_batch(request) as stream:
        async for response in stream:
            assert response.status
            if not phases:
                await asyncio.sleep(3 * LIMIT)
                await person.service.cancel_trial_batch(v1.CancelTrialBatchRequest(name=batch))
            phases.append(response.status.phase)
    assert phases[-1] == "Failed"
    await person.transport.close()


@contextlib.asynccontextmanager
async def serving_alone(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> AsyncGenerator[str]:
    """A server of two pages, of which one is endless."""
    slow = SlowSenders(header_timeout=LIMIT, body_timeout=LIMIT)
    app = web.Application(middlewares=[slow.middleware(endless={"/endless"})])
    app.router.add_post("/endless", handler)
    app.router.add_post("/page", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    watching = asyncio.create_task(slow.watch(runner.server))
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        watching.cancel()
        await runner.cleanup()


async def test_a_stream_of_requests_may_pause() -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with serving_alone(read) as url:
        for path, status in (("/endless", b"200"), ("/page", b"408")):
            with sender(url) as one:
                await one.send(one.head(path, 2, "Connection: close") + b"a")
                if status == b"200":
                    await asyncio.sleep(3 * LIMIT)
                    await one.send(b"b")
                assert (await one.answer()).startswith(b"HTTP/1.1 " + status)


async def test_a_server_that_does_not_read_is_not_the_senders_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However much has come, it is no reason to wait.
    monkeypatch.setattr(slow_senders, "MIN_BYTES_PER_SECOND", 2**60)
    size = 4 * 1024 * 1024

    async def read_later(request: web.Request) -> web.Response:
        await asyncio.sleep(3 * LIMIT)
        return web.Response(text=str(sum([len(part) async for part in request.content.iter_any()])))

    async with serving_alone(read_later) as url:
        with sender(url) as one:
            sending = asyncio.create_task(
                one.send(one.head("/page", size, "Connection: close") + bytes(size))
            )
            assert (await one.answer()).endswith(str(size).encode())
            await sending

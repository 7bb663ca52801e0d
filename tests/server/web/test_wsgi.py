"""WSGI applications behind aiohttp: what they are told, and what becomes of their answers."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from aiauto.server.listening import listen
from aiauto.server.web.wsgi import BLOCK_BYTES, WsgiServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[WSGIApplication], Awaitable[str]]]:
    """Serves an application and answers with its address."""
    runners: list[web.AppRunner] = []
    with ThreadPoolExecutor(4) as threads:

        async def start(application: WSGIApplication) -> str:
            app = web.Application()
            server = WsgiServer(application, threads, max_body_bytes=10_000_000)
            app.router.add_route("*", "/{rest:.*}", server.answer)
            listener = listen("127.0.0.1", [0])
            runner = web.AppRunner(app, shutdown_timeout=1)
            await runner.setup()
            await web.SockSite(runner, listener).start()
            runners.append(runner)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start
        for runner in runners:
            await runner.cleanup()


class Body:
    """An answer that remembers whether it was closed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        self.closed.set()


async def test_what_the_application_is_told(serve: Any) -> None:
    seen: dict[str, Any] = {}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.update(environ, body=environ["wsgi.input"].read())
        start_response("200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return []

    url = await serve(application)
    headers = [
        ("X-Many", "1"),
        ("X-Many", "2"),
        ("X_Many", "3"),
        ("Authorization", "Bearer secret"),
        ("Cookie", "session=secret"),
        ("Content-Type", "text/plain"),
    ]
    address = URL(f"{url}/a%20b/%E2%98%83?q=%20x", encoded=True)
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(address, data=io.BytesIO(b"hello" * 400_000), headers=headers) as answer,
    ):
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert seen["REQUEST_METHOD"] == "POST"
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/a b/\N{SNOWMAN}"
    assert seen["QUERY_STRING"] == "q=%20x"
    assert seen["HTTP_X_MANY"] == "1,2"
    assert seen["CONTENT_TYPE"] == "text/plain"
    assert seen["CONTENT_LENGTH"] == "2000000"
    assert seen["body"] == b"hello" * 400_000
    assert not {"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_CONTENT_LENGTH"} & seen.keys()


async def test_an_answer_streams_and_is_closed(serve: Any) -> None:
    first_read = threading.Event()
    body = Body(())

    def pieces() -> Iterator[bytes]:
        yield b"x" * BLOCK_BYTES
        # Comes only when the client has had the first block.
        assert first_read.wait(10)
        yield b"y"

    def application(_environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("202 Fine So Far", [("Connection", "close"), ("Transfer-Encoding", "x")])
        body._pieces = pieces()
        return body

    url = await serve(application)
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        assert (answer.status, answer.reason) == (202, "Fine So Far")
        assert await answer.content.readexactly(BLOCK_BYTES) == b"x" * BLOCK_BYTES
        first_read.set()
        assert await answer.content.read() == b"y"
    assert body.closed.wait(10)


async def test_written_and_late_headers(serve: Any) -> None:
    def application(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("500 Not Yet", [])
        write(b"written, ")
        start_response("200 OK", [("X-Late", "yes")], None)
        yield b"yielded"

    url = await serve(application)
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        assert answer.status == 200
        assert answer.headers["X-Late"] == "yes"
        assert await answer.read() == b"written, yielded"


async def test_an_application_that_fails(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.errors"].write("about to fail\n")
        if environ["PATH_INFO"] == "/silent":
            return [b"no status"]
        message = "secret detail"
        raise RuntimeError(message)

    url = await serve(application)
    async with aiohttp.ClientSession() as browser:
        for path in ("/loud", "/silent"):
            async with browser.get(url + path) as answer:
                assert answer.status == 500
                assert "secret" not in await answer.text()
    assert "about to fail" in caplog.text


async def test_a_client_that_leaves_frees_the_application(serve: Any) -> None:
    body = Body(())

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * BLOCK_BYTES

    def application(_environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", [])
        body._pieces = endless()
        return body

    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    url = await serve(application)
    async with aiohttp.ClientSession() as browser:
        answer = await browser.get(url)
        await answer.content.readexactly(10)
        answer.close()
    assert await asyncio.to_thread(body.closed.wait, 10)


async def test_requests_run_side_by_side(serve: Any) -> None:
    meeting = threading.Barrier(3)

    def application(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        meeting.wait(10)
        start_response("204 No Content", [])
        return [b""]

    url = await serve(application)
    begin = time.monotonic()
    async with aiohttp.ClientSession() as browser:

        async def call() -> int:
            async with browser.get(url) as answer:
                return answer.status

        assert await asyncio.gather(*(call() for _ in range(3))) == [204] * 3
    assert time.monotonic() - begin < 5

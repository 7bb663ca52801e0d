"""Serves a WSGI application from aiohttp: the application runs in threads, its answer streams."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from aiohttp import web

from aiauto.server.limits import told
from aiauto.server.wholeness import to_the_end

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import TypeAlias

    from _typeshed.wsgi import WSGIApplication

    ExcInfo: TypeAlias = (
        tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
    )

LOGGER = logging.getLogger(__name__)

# How much travels from the application's thread to the socket at once.
BLOCK_BYTES = 256 * 1024
# Bigger request bodies wait on disk for the application.
MEMORY_BYTES = 1024 * 1024
# What speaks of our connection is not the application's business, and who the caller is neither.
HIDDEN_REQUEST_HEADERS = frozenset({"authorization", "connection", "cookie", "transfer-encoding"})
HIDDEN_RESPONSE_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding"})


class WsgiServer:
    """Lets a WSGI application (PEP 3333) answer the requests of an aiohttp server."""

    def __init__(
        self,
        application: WSGIApplication,
        threads: concurrent.futures.Executor,
        *,
        max_body_bytes: int,
    ) -> None:
        """Make a server.

        Args:
            application: The application. It must be safe to call from several threads.
            threads: Runs it. Its size bounds how many requests are answered at once.
            max_body_bytes: Size of the biggest request body; a bigger one is answered with 413.
        """
        self._application = application
        self._threads = threads
        self._max_body_bytes = max_body_bytes

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Let the application answer a request."""
        run = partial(asyncio.get_running_loop().run_in_executor, self._threads)
        with SpooledTemporaryFile(max_size=MEMORY_BYTES) as body:
            size = 0
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > self._max_body_bytes:
                    raise web.HTTPRequestEntityTooLarge(
                        self._max_body_bytes,
                        size,
                        text="The body of the request is too large: "
                        f"{told('max_page_body_bytes', self._max_body_bytes)}.\n",
                    )
                body.write(chunk)
            body.seek(0)
            exchange = _Exchange(self._application, _environ(request, body, size))
            try:
                block = await run(exchange.begin)
                response = exchange.response()
                await response.prepare(request)
                silent = request.method == "HEAD" or response.status in {204, 304}
                while block and not silent:
                    await response.write(block)
                    block = await run(exchange.next_block)
                await response.write_eof()
            finally:
                # A visitor who is gone cancels what waits for a thread, and files stay open.
                await to_the_end(self._close(exchange))
            return response

    async def _close(self, exchange: _Exchange) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, exchange.close)


class _Exchange:
    """One call of the application. Its methods run in threads, one after the other."""

    def __init__(self, application: WSGIApplication, environ: dict[str, Any]) -> None:
        self._application = application
        self._environ = environ
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._pieces: list[bytes] = []
        self._body: Iterable[bytes] = ()
        self._iterator: Iterator[bytes] = iter(())
        self._begun = False
        # A request that is cancelled closes the exchange while a thread may still be in it.
        self._lock = threading.Lock()

    def begin(self) -> bytes:
        """Call the application and fetch the first block. It may set headers until then."""
        with self._lock:
            self._body = self._application(self._environ, self._start_response)
            self._iterator = iter(self._body)
            block = self._take()
            self._begun = True
            if not self._status:
                message = "the WSGI application answered without a status"
                raise RuntimeError(message)
            return block

    def next_block(self) -> bytes:
        """Fetch the next block, empty at the end."""
        with self._lock:
            return self._take()

    def close(self) -> None:
        """Tell the application that its answer is not needed any more."""
        with self._lock:
            close: Callable[[], object] | None = getattr(self._body, "close", None)
            if close is not None:
                close()

    def response(self) -> web.StreamResponse:
        """The status and headers that the application set."""
        code, _, reason = self._status.partition(" ")
        response = web.StreamResponse(status=int(code), reason=reason or None)
        for name, value in self._headers:
            if name.lower() not in HIDDEN_RESPONSE_HEADERS:
                response.headers.add(name, value)
        return response

    def _take(self) -> bytes:
        size = sum(map(len, self._pieces))
        for piece in self._iterator:
            self._pieces.append(piece)
            size += len(piece)
            if size >= BLOCK_BYTES:
                break
        block = b"".join(self._pieces)
        self._pieces.clear()
        return block

    def _start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        if exc_info is not None and exc_info[1] is not None and self._begun:
            raise exc_info[1]
        self._status = status
        self._headers = list(headers)
        return self._pieces.append


class _ErrorLog:
    """What the application has for standard error."""

    def write(self, text: str) -> int:
        if text.strip():
            LOGGER.error("%s", text.rstrip())
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        pass


def _environ(request: web.Request, body: Any, size: int) -> dict[str, Any]:  # noqa: ANN401
    """The request in the words of PEP 3333."""
    transport = request.transport
    address = transport.get_extra_info("sockname") if transport is not None else None
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.rel_url.raw_path).decode("latin-1"),
        "QUERY_STRING": request.rel_url.raw_query_string,
        "CONTENT_LENGTH": str(size),
        "SERVER_NAME": str(address[0]) if address else "localhost",
        "SERVER_PORT": str(address[1]) if address else "0",
        "SERVER_PROTOCOL": f"HTTP/{request.version.major}.{request.version.minor}",
        "REMOTE_ADDR": request.remote or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": _ErrorLog(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        # Some applications, Optuna's dashboard among them, count on it.
        "HTTP_ACCEPT_ENCODING": "",
    }
    for name in {name.lower() for name in request.headers}:
        value = ",".join(request.headers.getall(name))
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        # `_` would become the same name as `-`.
        elif name != "content-length" and name not in HIDDEN_REQUEST_HEADERS and "_" not in name:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ

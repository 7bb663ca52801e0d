"""The echo service on this project's implementation: server and clients."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from aiauto import connect
from aiauto.connect.codec import JSON
from tests.interop.calls import Call, Failure, Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from tests.gen.conftest import Generated


class Code:
    """What our generator made of the schema.

    Attributes:
        messages: Module of the messages.
        services: Module of the clients and of the server's base class.
    """

    def __init__(self, generated: Generated) -> None:
        self.messages: Any = generated.module("interop.v1")
        self.services: Any = generated.module("interop.v1.connect")

    def request(self, json_value: dict[str, Any]) -> Any:
        """A request message."""
        return JSON.decode(self.messages.EchoRequest, json.dumps(json_value).encode())


# --------------------------------------------------------------------------------- server


def _answer(code: Code, request: Any, context: Any, *, index: int = 0, requests: int = 1) -> Any:
    headers, query = context.request_headers, context.http_request.query
    content_type: str = headers.get("content-type", "")
    compression: str = (
        query.get("compression")
        or headers.get("connect-content-encoding")
        or headers.get("content-encoding", "")
    )
    seen = code.messages.Seen(
        http_method=context.http_request.method,
        codec=query.get("encoding") or content_type.rpartition("/")[2].rpartition("+")[2],
        compression=compression.replace("identity", ""),
        timeout_ms=int((context.deadline_left() or 0) * 1000),
        requests=requests,
        asked=headers.get("x-interop-ask", ""),
        values_json="" if request.values is None else JSON.encode(request.values).decode(),
    )
    return code.messages.EchoResponse(values=request.values, index=index, seen=seen)


def _tell(context: Any) -> None:
    """Sets the metadata of the answer."""
    context.response_headers["x-interop-header"] = context.request_headers["x-interop-ask"]
    context.response_trailers.add("x-interop-trailer", "one")
    context.response_trailers.add("x-interop-trailer", "two")


def _fail(request: Any) -> None:
    failure = request.failure
    if failure is not None:
        found = connect.Code(failure.code)
        raise connect.RpcError.of(found, failure.message, details=[failure.detail])


def make_service(code: Code) -> Any:
    """An instance of the service."""
    services: Any = code.services

    class Echo(services.EchoServiceBase):  # type: ignore[misc]
        async def unary(self, request: Any, context: Any) -> Any:
            _tell(context)
            await asyncio.sleep(request.sleep_ms / 1000)
            _fail(request)
            return _answer(code, request, context)

        get = unary

        async def server_stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
            _tell(context)
            await asyncio.sleep(request.sleep_ms / 1000)
            for index in range(request.repeat):
                yield _answer(code, request, context, index=index)
            _fail(request)

        async def client_stream(self, requests: AsyncIterator[Any], context: Any) -> Any:
            received = [request async for request in requests]
            request = received[-1] if received else code.messages.EchoRequest()
            _tell(context)
            await asyncio.sleep(request.sleep_ms / 1000)
            _fail(request)
            return _answer(code, request, context, requests=len(received))

        async def bidi(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            request, count = code.messages.EchoRequest(), 0
            _tell(context)
            async for request in requests:
                await asyncio.sleep(request.sleep_ms / 1000)
                yield _answer(code, request, context, index=count, requests=count + 1)
                count += 1
            _fail(request)

    return Echo()


async def _tell_encoding(_request: web.Request, response: web.StreamResponse) -> None:
    # The peer of Python hides it: its HTTP library inflates the answer and forgets the header.
    response.headers["x-interop-encoding"] = response.headers.get("content-encoding", "identity")


@contextmanager
def serve(code: Code) -> Generator[str]:
    """Runs our server in a thread with a loop of its own. Gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    app = web.Application()
    connect.add_services(app, [make_service(code)])
    app.on_response_prepare.append(_tell_encoding)
    runner = connect.app_runner(app, access_log=None)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# -------------------------------------------------------------------------------- clients


def _options(call: Call) -> dict[str, Any]:
    return {
        "codec": call.codec,
        "compressions": [connect.GZIP] if call.compression == "gzip" else [],
        "compress_min_bytes": 0,
        "use_get": call.get,
        "retries": connect.NO_RETRIES,
    }


def _arguments(code: Code, call: Call) -> tuple[Any, dict[str, Any]]:
    messages = [code.request(one) for one in call.requests]
    argument = messages if call.method in {"client_stream", "bidi"} else messages[0]
    timeout = None if call.timeout_ms is None else call.timeout_ms / 1000
    return argument, {"headers": call.headers, "timeout": timeout}


def _report(
    responses: list[Any], answer: connect.ResponseMetadata, error: connect.RpcError | None
) -> Report:
    failure = None
    if error is not None:
        details = [{"type_name": one.type_name, "value": one.value.hex()} for one in error.details]
        metadata = dict(error.metadata)
        failure = Failure(error.code.value, error.message, details, metadata)
    return Report(
        [json.loads(JSON.encode(one)) for one in responses],
        dict(answer.headers),
        dict(answer.trailers),
        failure,
    )


class AsyncClient:
    """Calls with `Transport`, in a loop that ends with the call."""

    def __init__(self, code: Code) -> None:
        self._code = code

    def call(self, url: str, call: Call, /) -> Report:
        """Makes a call."""
        return asyncio.run(self._call(url, call))

    async def _call(self, url: str, call: Call) -> Report:
        responses: list[Any] = []
        error = None
        with connect.ResponseMetadata() as answer:
            async with connect.Transport(url, **_options(call)) as transport:
                client = self._code.services.EchoServiceClient(transport)
                argument, options = _arguments(self._code, call)
                found = getattr(client, call.method)(argument, **options)
                try:
                    if call.method in {"server_stream", "bidi"}:
                        async with found:
                            async for response in found:
                                # One by one: what came before an error counts.
                                responses.append(response)  # noqa: PERF401
                    else:
                        responses.append(await found)
                except connect.RpcError as failure:
                    error = failure
        return _report(responses, answer, error)


class SyncClient:
    """Calls with `SyncTransport`. Its connections are used again."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._transports: dict[tuple[object, ...], connect.SyncTransport] = {}

    def close(self) -> None:
        """Closes the connections."""
        for transport in self._transports.values():
            transport.close()

    def call(self, url: str, call: Call, /) -> Report:
        """Makes a call."""
        key = (url, call.codec, call.compression, call.get)
        if key not in self._transports:
            self._transports[key] = connect.SyncTransport(url, **_options(call))
        client = self._code.services.EchoServiceClientSync(self._transports[key])
        argument, options = _arguments(self._code, call)
        responses: list[Any] = []
        error = None
        with connect.ResponseMetadata() as answer:
            try:
                found = getattr(client, call.method)(argument, **options)
                if call.method in {"server_stream", "bidi"}:
                    with found:
                        responses.extend(found)
                else:
                    responses.append(found)
            except connect.RpcError as failure:
                error = failure
        return _report(responses, answer, error)

"""The echo service on the official Python implementation, for our clients.

Runs in an environment of its own. Prints its port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import urllib.parse
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Loaded by name: the packages are in the peer's environment, not in that of the type checkers.
Code = importlib.import_module("connectrpc.code").Code
errors = importlib.import_module("connectrpc.errors")
uvicorn = importlib.import_module("uvicorn")
messages = importlib.import_module("interop.v1.echo_pb")
services: Any = importlib.import_module("interop.v1.echo_connect")

# What a method is not told of the request.
query: ContextVar[dict[str, str]] = ContextVar("query")


def answer(request: Any, context: Any, *, index: int = 0, requests: int = 1) -> Any:
    headers = context.request_headers
    content_type = headers.get("content-type", "")
    asked = query.get()
    compression = (
        asked.get("compression")
        or headers.get("connect-content-encoding")
        or headers.get("content-encoding", "")
    )
    seen = messages.Seen(
        http_method=context.http_method,
        codec=asked.get("encoding") or content_type.rpartition("/")[2].rpartition("+")[2],
        compression=compression.replace("identity", ""),
        timeout_ms=int(context.timeout_ms or 0),
        requests=requests,
        asked=headers.get("x-interop-ask", ""),
        values_json="" if request.values is None else request.values.to_json(),
    )
    return messages.EchoResponse(values=request.values, index=index, seen=seen)


def tell(request: Any, context: Any) -> None:
    """Sets the metadata of the answer."""
    context.response_headers.add("x-interop-header", context.request_headers["x-interop-ask"])
    context.response_trailers.add("x-interop-trailer", "one")
    context.response_trailers.add("x-interop-trailer", "two")


def fail(request: Any) -> None:
    failure = request.failure
    if failure is not None:
        raise errors.ConnectError(Code(failure.code), failure.message, [failure.detail])


class Echo(services.EchoService):  # type: ignore[misc]
    async def unary(self, request: Any, context: Any, /) -> Any:
        tell(request, context)
        await asyncio.sleep(request.sleep_ms / 1000)
        fail(request)
        return answer(request, context)

    get = unary

    async def server_stream(self, request: Any, context: Any, /) -> AsyncIterator[Any]:
        tell(request, context)
        await asyncio.sleep(request.sleep_ms / 1000)
        for index in range(request.repeat):
            yield answer(request, context, index=index)
        fail(request)

    async def client_stream(self, requests: Any, context: Any, /) -> Any:
        received = [request async for request in requests]
        request = received[-1] if received else messages.EchoRequest()
        tell(request, context)
        await asyncio.sleep(request.sleep_ms / 1000)
        fail(request)
        return answer(request, context, requests=len(received))

    async def bidi(self, requests: Any, context: Any, /) -> AsyncIterator[Any]:
        request, count = messages.EchoRequest(), 0
        tell(request, context)
        async for request in requests:
            await asyncio.sleep(request.sleep_ms / 1000)
            yield answer(request, context, index=count, requests=count + 1)
            count += 1
        fail(request)


application = services.EchoServiceASGIApplication(Echo())


async def with_query(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        query.set(dict(urllib.parse.parse_qsl(scope["query_string"].decode())))
    await application(scope, receive, send)


async def main() -> None:
    config = uvicorn.Config(with_query, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = server.force_exit = True
    await serving


asyncio.run(main())

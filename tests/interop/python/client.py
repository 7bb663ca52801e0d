"""Clients of the official Python implementation, for our server.

Runs in an environment of its own. Makes each call that comes in as a line of JSON, and prints a
line of JSON that tells what came of it. See `Call` and `Report` in ../calls.py.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Loaded by name: the packages are in the peer's environment, not in that of the type checkers.
codecs = importlib.import_module("connectrpc.codec")
client_module = importlib.import_module("connectrpc.client")
errors = importlib.import_module("connectrpc.errors")
gzip = importlib.import_module("connectrpc.compression.gzip")
messages = importlib.import_module("interop.v1.echo_pb")
services: Any = importlib.import_module("interop.v1.echo_connect")


def client_of(call: Any) -> Any:
    codec = codecs.proto_json_codec() if call["codec"] == "json" else codecs.proto_binary_codec()
    packers = [gzip.GzipCompression()] if call["compression"] == "gzip" else []
    return services.EchoServiceClient(
        call["url"],
        codec=codec,
        accept_compression=packers,
        send_compression=packers[0] if packers else None,
    )


async def responses_of(call: Any, client: Any) -> AsyncIterator[Any]:
    requests = [messages.EchoRequest.from_json(json.dumps(one)) for one in call["requests"]]

    async def stream() -> AsyncIterator[Any]:
        for request in requests:
            yield request

    options: dict[str, Any] = {"headers": call["headers"], "timeout_ms": call["timeout_ms"]}
    method = getattr(client, call["method"])
    if call["method"] == "get":
        yield await method(requests[0], use_get=call["get"], **options)
    elif call["method"] == "client_stream":
        yield await method(stream(), **options)
    elif call["method"] == "server_stream":
        async for response in method(requests[0], **options):
            yield response
    elif call["method"] == "bidi":
        async for response in method(stream(), **options):
            yield response
    else:
        yield await method(requests[0], **options)


def joined(headers: Any) -> dict[str, str]:
    return {name: ", ".join(headers.getall(name)) for name in headers}


async def report_of(call: Any) -> dict[str, Any]:
    responses: list[Any] = []
    error: dict[str, Any] | None = None
    with client_module.ResponseMetadata() as metadata:
        try:
            async with client_of(call) as client:
                async for response in responses_of(call, client):
                    # One by one: what came before an error counts.
                    responses.append(json.loads(response.to_json()))  # noqa: PERF401
        except errors.ConnectError as failure:
            error = {
                "code": failure.code.value,
                "message": failure.message,
                "details": [
                    {"type_name": one.type_name, "value": one.message_bytes.hex()}
                    for one in failure.details
                ],
            }
    headers, trailers = joined(metadata.headers), joined(metadata.trailers)
    if error is not None:
        error["metadata"] = {**headers, **trailers}
    return {"responses": responses, "headers": headers, "trailers": trailers, "error": error}


async def main() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            report = await report_of(json.loads(line))
        except Exception as error:  # noqa: BLE001 - the next call must be made all the same
            report = {"crash": repr(error)}
        print(json.dumps(report), flush=True)


asyncio.run(main())

"""The suite's service on our runtime: does what each request asks it to do."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web
from conformance_gen.connectrpc.conformance.v1 import (
    BidiStreamRequest,
    BidiStreamResponse,
    ClientStreamRequest,
    ClientStreamResponse,
    ConformancePayload,
    ConformancePayloadConnectGetInfo,
    ConformancePayloadRequestInfo,
    Header,
    IdempotentUnaryRequest,
    IdempotentUnaryResponse,
    ServerCompatRequest,
    ServerCompatResponse,
    ServerStreamRequest,
    ServerStreamResponse,
    StreamResponseDefinition,
    UnaryRequest,
    UnaryResponse,
    UnaryResponseDefinition,
)
from conformance_gen.connectrpc.conformance.v1.connect import ConformanceServiceBase
from conformance_gen.google.protobuf import Any
from deflate import DEFLATE
from exchange import NO_LIMIT, from_error, read, to_headers, write

from aiauto import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import betterproto2
    from conformance_gen.connect import Context

ResponseT = TypeVar("ResponseT")


class Conformance(ConformanceServiceBase):
    async def unary(self, request: UnaryRequest, context: Context) -> UnaryResponse:
        payload = await answer_one([request], request.response_definition, whole(context))
        return UnaryResponse(payload=payload)

    async def idempotent_unary(
        self, request: IdempotentUnaryRequest, context: Context
    ) -> IdempotentUnaryResponse:
        payload = await answer_one([request], request.response_definition, whole(context))
        return IdempotentUnaryResponse(payload=payload)

    async def client_stream(
        self, requests: AsyncIterator[ClientStreamRequest], context: Context
    ) -> ClientStreamResponse:
        found = [request async for request in requests]
        definition = found[0].response_definition if found else None
        return ClientStreamResponse(payload=await answer_one(found, definition, whole(context)))

    async def server_stream(
        self, request: ServerStreamRequest, context: Context
    ) -> AsyncIterator[ServerStreamResponse]:
        definition = request.response_definition
        async for payload in answer_many([request], definition, whole(context)):
            yield ServerStreamResponse(payload=payload)

    async def bidi_stream(
        self, requests: AsyncIterator[BidiStreamRequest], context: Context
    ) -> AsyncIterator[BidiStreamResponse]:
        found = [request async for request in requests]
        definition = found[0].response_definition if found else None
        async for payload in answer_many(found, definition, whole(context)):
            yield BidiStreamResponse(payload=payload)


def whole(context: Context) -> connect.CallContext:
    """The context with what is aiohttp's, of which generated code knows nothing."""
    assert isinstance(context, connect.CallContext)
    return context


async def answer_one(
    requests: Sequence[betterproto2.Message],
    definition: UnaryResponseDefinition | None,
    context: connect.CallContext,
) -> ConformancePayload:
    info = what_arrived(requests, context)
    if definition is None:
        return ConformancePayload(request_info=info)
    set_metadata(definition, context)
    await asyncio.sleep(definition.response_delay_ms / 1000)
    if definition.error is not None:
        raise from_error(definition.error, info)
    return ConformancePayload(data=definition.response_data or b"", request_info=info)


async def answer_many(
    requests: Sequence[betterproto2.Message],
    definition: StreamResponseDefinition | None,
    context: connect.CallContext,
) -> AsyncIterator[ConformancePayload]:
    if definition is None:
        return
    info = what_arrived(requests, context)
    set_metadata(definition, context)
    for number, data in enumerate(definition.response_data):
        await asyncio.sleep(definition.response_delay_ms / 1000)
        yield ConformancePayload(data=data, request_info=None if number else info)
    if definition.error is not None:
        # What arrived stands in the first payload, or where there is none in the error.
        raise from_error(definition.error, *(() if definition.response_data else (info,)))


def what_arrived(
    requests: Sequence[betterproto2.Message], context: connect.CallContext
) -> ConformancePayloadRequestInfo:
    left = context.deadline_left()
    get_info: ConformancePayloadConnectGetInfo | None = None
    if context.http_request.method == "GET":
        query = context.http_request.query.items()
        get_info = ConformancePayloadConnectGetInfo(
            query_params=[Header(name=name, value=[value]) for name, value in query]
        )
    return ConformancePayloadRequestInfo(
        request_headers=to_headers(context.request_headers),
        timeout_ms=None if left is None else int(left * 1000),
        requests=[Any.pack(request) for request in requests],
        connect_get_info=get_info,
    )


def set_metadata(
    definition: UnaryResponseDefinition | StreamResponseDefinition, context: connect.CallContext
) -> None:
    for header in definition.response_headers:
        for value in header.value:
            context.response_headers.add(header.name, value)
    for trailer in definition.response_trailers:
        for value in trailer.value:
            context.response_trailers.add(trailer.name, value)


def tls(request: ServerCompatRequest) -> ssl.SSLContext | None:
    if not request.use_tls or request.server_creds is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(request.server_creds.cert + b"\n" + request.server_creds.key)
        file.flush()
        context.load_cert_chain(file.name)
    if request.client_tls_cert:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=request.client_tls_cert.decode())
    return context


async def main() -> None:
    request = read(ServerCompatRequest)
    assert request is not None
    app = web.Application()
    connect.add_services(
        app,
        [Conformance()],
        max_message_bytes=request.message_receive_limit or NO_LIMIT,
        compressions=(connect.GZIP, DEFLATE),
        compress_min_bytes=0,
    )
    runner = connect.app_runner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls(request)).start()
    host, port = runner.addresses[0][:2]
    cert = request.server_creds.cert if request.use_tls and request.server_creds else b""
    write(ServerCompatResponse(host=host, port=port, pem_cert=cert))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

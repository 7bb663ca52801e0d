"""Makes the calls that the suite asks for, with the generated asynchronous client."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import calling
from conformance_gen.connectrpc.conformance.v1 import (
    ClientCompatRequest,
    ClientCompatResponse,
    ClientErrorResult,
    ClientResponseResult,
    Code,
    Error,
    StreamType,
)
from conformance_gen.connectrpc.conformance.v1.connect import ConformanceServiceClient
from exchange import read, to_error, to_headers, write

from aiauto import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Call:
    """One call, and what became of it."""

    def __init__(self, request: ClientCompatRequest) -> None:
        self.request = request
        self.result = ClientResponseResult()
        self.all_sent = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def make(self) -> ClientResponseResult:
        self.task = asyncio.create_task(self.run())
        cancelling = asyncio.create_task(self.cancel_after_sending())
        await self.task
        cancelling.cancel()
        return self.result

    async def cancel_after_sending(self) -> None:
        cancel = self.request.cancel
        if cancel is None or cancel.after_close_send_ms is None or self.task is None:
            return
        many = StreamType.CLIENT_STREAM, StreamType.HALF_DUPLEX_BIDI_STREAM
        if self.request.stream_type in many:
            await self.all_sent.wait()
        await asyncio.sleep(cancel.after_close_send_ms / 1000)
        self.task.cancel()

    async def run(self) -> None:
        async with calling.transport(connect.Transport, self.request) as transport:
            with connect.ResponseMetadata() as answer:
                try:
                    await self.call(ConformanceServiceClient(transport))
                except connect.RpcError as error:
                    self.result.error = to_error(error)
                except asyncio.CancelledError:
                    # It stayed what it is in asyncio; the suite knows it by its code.
                    self.result.error = Error(code=Code.CANCELED)
            self.result.response_headers = to_headers(answer.headers)
            self.result.response_trailers = to_headers(answer.trailers)

    async def call(self, client: ConformanceServiceClient) -> None:
        request = self.request
        options = calling.options(request)
        if request.method == "ClientStream":
            await self.one(client.client_stream(self.requests(), **options))
        elif request.method == "BidiStream":
            await self.many(client.bidi_stream(self.requests(), **options))
        else:
            (message,) = calling.messages(request)
            if request.method == "ServerStream":
                await self.many(client.server_stream(message, **options))
            elif request.method == "IdempotentUnary":
                await self.one(client.idempotent_unary(message, **options))
            elif request.method == "Unimplemented":
                await self.one(client.unimplemented(message, **options))
            else:
                await self.one(client.unary(message, **options))

    async def requests(self) -> AsyncIterator[Any]:
        for message in calling.messages(self.request):
            await asyncio.sleep(self.request.request_delay_ms / 1000)
            yield message
        cancel = self.request.cancel
        if cancel is not None and cancel.before_close_send is not None and self.task is not None:
            self.task.cancel()
            await asyncio.Event().wait()
        self.all_sent.set()

    async def one(self, answer: Any) -> None:
        self.result.payloads.append(calling.payload(await answer))

    async def many(self, answers: Any) -> None:
        async with answers:
            async for message in answers:
                self.result.payloads.append(calling.payload(message))
                cancel = self.request.cancel
                if cancel and cancel.after_num_responses == len(self.result.payloads):
                    self.result.error = Error(code=Code.CANCELED)
                    return


async def answer(request: ClientCompatRequest, gate: asyncio.Semaphore) -> None:
    response = ClientCompatResponse(test_name=request.test_name)
    async with gate:
        try:
            response.response = await Call(request).make()
        except Exception:  # noqa: BLE001 - told to the suite, which goes on
            response.error = ClientErrorResult(message=traceback.format_exc())
    write(response)


async def main() -> None:
    gate = asyncio.Semaphore(calling.AT_ONCE)
    running: list[asyncio.Task[None]] = []
    while (request := await asyncio.to_thread(read, ClientCompatRequest)) is not None:
        running.append(asyncio.create_task(answer(request, gate)))
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main())

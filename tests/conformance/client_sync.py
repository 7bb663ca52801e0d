"""Makes the calls that the suite asks for, with the generated blocking client, in threads."""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
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
from conformance_gen.connectrpc.conformance.v1.connect import ConformanceServiceClientSync
from exchange import read, to_error, to_headers, write

from aiauto import connect

if TYPE_CHECKING:
    from collections.abc import Iterator


class GivenUpError(Exception):
    """Raised by the caller's own iterable, which is how a request is given up half-way."""


class Call:
    """One call, and what became of it."""

    def __init__(self, request: ClientCompatRequest) -> None:
        self.request = request
        self.result = ClientResponseResult()
        self.transport = calling.transport(connect.SyncTransport, request)
        self.ended = threading.Event()

    def make(self) -> ClientResponseResult:
        with self.transport, connect.ResponseMetadata() as answer:
            try:
                self.call(ConformanceServiceClientSync(self.transport))
            except connect.RpcError as error:
                self.result.error = to_error(error)
            except GivenUpError:
                self.result.error = Error(code=Code.CANCELED)
            finally:
                self.ended.set()
        self.result.response_headers = to_headers(answer.headers)
        self.result.response_trailers = to_headers(answer.trailers)
        return self.result

    def call(self, client: ConformanceServiceClientSync) -> None:
        request = self.request
        options = calling.options(request)
        if request.stream_type in (StreamType.UNARY, StreamType.SERVER_STREAM):
            self.cancel_after_sending()
        if request.method == "ClientStream":
            self.one(client.client_stream(self.requests(), **options))
        elif request.method == "BidiStream":
            self.many(client.bidi_stream(self.requests(), **options))
        else:
            (message,) = calling.messages(request)
            if request.method == "ServerStream":
                self.many(client.server_stream(message, **options))
            elif request.method == "IdempotentUnary":
                self.one(client.idempotent_unary(message, **options))
            elif request.method == "Unimplemented":
                self.one(client.unimplemented(message, **options))
            else:
                self.one(client.unary(message, **options))

    def cancel_after_sending(self) -> None:
        """Gives the call up later, from another thread: this one waits for its answer."""
        cancel = self.request.cancel
        if cancel is not None and cancel.after_close_send_ms is not None:
            threading.Timer(cancel.after_close_send_ms / 1000, self.cancel).start()

    def cancel(self) -> None:
        # Again and again, since on a busy machine the call may not have begun yet.
        while not self.ended.wait(0.01):
            self.transport.close()

    def requests(self) -> Iterator[Any]:
        for message in calling.messages(self.request):
            time.sleep(self.request.request_delay_ms / 1000)
            yield message
        if self.request.cancel is not None and self.request.cancel.before_close_send is not None:
            raise GivenUpError
        self.cancel_after_sending()

    def one(self, message: Any) -> None:
        self.result.payloads.append(calling.payload(message))

    def many(self, answers: Any) -> None:
        with answers:
            for message in answers:
                self.result.payloads.append(calling.payload(message))
                cancel = self.request.cancel
                if cancel and cancel.after_num_responses == len(self.result.payloads):
                    self.result.error = Error(code=Code.CANCELED)
                    return


def answer(request: ClientCompatRequest) -> None:
    response = ClientCompatResponse(test_name=request.test_name)
    try:
        response.response = Call(request).make()
    except Exception:  # noqa: BLE001 - told to the suite, which goes on
        response.error = ClientErrorResult(message=traceback.format_exc())
    write(response)


def main() -> None:
    with ThreadPoolExecutor(calling.AT_ONCE) as threads:
        while (request := read(ClientCompatRequest)) is not None:
            threads.submit(answer, request)


if __name__ == "__main__":
    main()

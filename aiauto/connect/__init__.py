"""The Connect protocol (https://connectrpc.com) over aiohttp: clients and servers.

Knows nothing of any schema. `aiauto.connect.plugin` turns one into typed clients and server
classes; this package carries their calls::

    async with connect.Transport("http://127.0.0.1:8080") as transport:
        order = await OrderServiceClient(transport).get_order(GetOrderRequest(id="7"))

    class Orders(OrderServiceBase):
        async def get_order(self, request: GetOrderRequest, context: Context) -> Order: ...

    connect.add_services(app, [Orders()])
    runner = connect.app_runner(app)

All four kinds of methods work over HTTP/1.1, in binary and in JSON, with deadlines, compression,
errors with details, headers and trailers, and retries where the schema allows them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiauto.connect.answer import ResponseMetadata
    from aiauto.connect.client import Transport
    from aiauto.connect.compression import GZIP, Compression, Gzip
    from aiauto.connect.context import CallContext
    from aiauto.connect.endpoint import Interceptor, Next
    from aiauto.connect.errors import (
        AbortedError,
        AIAutoError,
        AlreadyExistsError,
        CanceledError,
        Code,
        DataLossError,
        DeadlineExceededError,
        ErrorDetail,
        FailedPreconditionError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        OutOfRangeError,
        PermissionDeniedError,
        ResourceExhaustedError,
        RpcError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
        UnknownError,
    )
    from aiauto.connect.metadata import Metadata
    from aiauto.connect.response_stream import ResponseStream
    from aiauto.connect.retry import NO_RETRIES, RetryPolicy, retry_info
    from aiauto.connect.server import add_services, app_runner
    from aiauto.connect.sync import SyncResponseStream, SyncTransport

__all__ = [
    "GZIP",
    "NO_RETRIES",
    "AIAutoError",
    "AbortedError",
    "AlreadyExistsError",
    "CallContext",
    "CanceledError",
    "Code",
    "Compression",
    "DataLossError",
    "DeadlineExceededError",
    "ErrorDetail",
    "FailedPreconditionError",
    "Gzip",
    "Interceptor",
    "InternalError",
    "InvalidArgumentError",
    "Metadata",
    "Next",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "ResponseMetadata",
    "ResponseStream",
    "RetryPolicy",
    "RpcError",
    "SyncResponseStream",
    "SyncTransport",
    "Transport",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "add_services",
    "app_runner",
    "retry_info",
]

# Where a name lives, if it is not an error. Each is loaded when it is first used: a program that
# only needs the errors, or the plugin, does not load aiohttp.
_HOMES = {
    "CallContext": "context",
    "Compression": "compression",
    "GZIP": "compression",
    "Gzip": "compression",
    "Interceptor": "endpoint",
    "Metadata": "metadata",
    "NO_RETRIES": "retry",
    "Next": "endpoint",
    "ResponseMetadata": "answer",
    "ResponseStream": "response_stream",
    "RetryPolicy": "retry",
    "SyncResponseStream": "sync",
    "SyncTransport": "sync",
    "Transport": "client",
    "add_services": "server",
    "app_runner": "server",
    "retry_info": "retry",
}


if not TYPE_CHECKING:  # or a misspelt name would pass for one that is found here

    def __getattr__(name: str) -> object:
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        value: object = getattr(home, name)
        globals()[name] = value  # the next access does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

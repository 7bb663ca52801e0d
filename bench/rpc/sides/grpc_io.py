"""grpcio: `python -m bench.rpc.sides.grpc_io server | aio-server | sync PORT | async PORT`.

Runs in an environment of its own, which has grpcio and no aiauto.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from concurrent import futures
from typing import Any

from bench.rpc.sides import measure
from bench.rpc.sides.message import FIELDS

grpc: Any = importlib.import_module("grpc")
messages: Any = importlib.import_module("echo.v1.echo_pb2")
services: Any = importlib.import_module("echo.v1.echo_pb2_grpc")

_ADDRESS = "127.0.0.1:0"


class Echo(services.EchoServiceServicer):  # type: ignore[misc]
    """The service, for threads."""

    def Echo(self, request: Any, _context: Any) -> Any:  # noqa: ANN401, N802 - as generated
        """Gives back the message."""
        return request


class AioEcho(services.EchoServiceServicer):  # type: ignore[misc]
    """The service, for an event loop."""

    async def Echo(self, request: Any, _context: Any) -> Any:  # noqa: ANN401, N802 - as generated
        """Gives back the message."""
        return request


def serve() -> None:
    """Runs the server with a thread for each call in flight."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    services.add_EchoServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port(_ADDRESS)
    server.start()
    measure.announce_server(port)
    server.wait_for_termination()


async def serve_aio() -> None:
    """Runs the server on an event loop."""
    server = grpc.aio.server()
    services.add_EchoServiceServicer_to_server(AioEcho(), server)
    port = server.add_insecure_port(_ADDRESS)
    await server.start()
    measure.announce_server(port)
    await server.wait_for_termination()


def call(kind: str, address: str) -> None:
    """Runs a client."""
    message = messages.Trial(**FIELDS)
    # Our clients have a deadline without being asked; these get the same.
    timeout = 60.0
    if kind == "async":
        asyncio.set_event_loop(asyncio.new_event_loop())
        echo = services.EchoServiceStub(grpc.aio.insecure_channel(address)).Echo
        measure.run_async(lambda: echo(message, timeout=timeout), message)
    else:
        echo = services.EchoServiceStub(grpc.insecure_channel(address)).Echo
        measure.run_sync(lambda: echo(message, timeout=timeout), message)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve()
    elif sys.argv[1] == "aio-server":
        asyncio.run(serve_aio())
    else:
        call(sys.argv[1], f"127.0.0.1:{sys.argv[2]}")

"""connectrpc: `python -m bench.rpc.sides.connectrpc_official KIND [PORT]`.

KIND is `asyncio` or `uvloop` for a server on such an event loop, `async` or `sync` for a client.
Runs in an environment of its own, which has connectrpc and no aiauto.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

from bench.rpc.sides import measure
from bench.rpc.sides.message import FIELDS

Trial: Any = importlib.import_module("echo.v1.echo_pb").Trial
services: Any = importlib.import_module("echo.v1.echo_connect")

_TIMEOUT_MS = 60_000
# Its client compresses every request unless told not to. Nobody compresses here.
_OPTIONS: dict[str, Any] = {"send_compression": None, "accept_compression": ()}


class Echo:
    """The service."""

    async def echo(self, request: Any, _context: Any) -> Any:  # noqa: ANN401 - generated
        """Gives back the message."""
        return request


def serve(loop: str) -> None:
    """Runs the server on uvicorn, with its faster parser of HTTP."""
    uvicorn: Any = importlib.import_module("uvicorn")

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            parent: Any = super()
            await parent.startup(*arguments, **options)
            measure.announce_server(self.servers[0].sockets[0].getsockname()[1])

    config = uvicorn.Config(
        services.EchoServiceASGIApplication(Echo()),
        port=0,
        http="httptools",
        loop=loop,
        access_log=False,
        log_level="warning",
        # Connections are kept between rounds, as the other servers do.
        timeout_keep_alive=75,
    )
    Server(config).run()


def call(kind: str, url: str) -> None:
    """Runs a client."""
    message = Trial(**FIELDS)
    if kind == "async":
        asyncio.set_event_loop(asyncio.new_event_loop())
        client = services.EchoServiceClient(url, timeout_ms=_TIMEOUT_MS, **_OPTIONS)
        measure.run_async(lambda: client.echo(message), message)
    else:
        client = services.EchoServiceClientSync(url, timeout_ms=_TIMEOUT_MS, **_OPTIONS)
        measure.run_sync(lambda: client.echo(message), message)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        call(sys.argv[1], f"http://127.0.0.1:{sys.argv[2]}")

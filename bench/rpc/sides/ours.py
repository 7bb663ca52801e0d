"""aiauto.connect: `python -m bench.rpc.sides.ours server | async PORT | sync PORT`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

from aiohttp import web

from aiauto import connect
from bench.rpc.sides import measure
from bench.rpc.sides.message import FIELDS

# Generated for this run by the plugin of the checkout.
messages: Any = importlib.import_module("ours_gen.echo.v1")
services: Any = importlib.import_module("ours_gen.echo.v1.connect")


class Echo(services.EchoServiceBase):  # type: ignore[misc]
    """The service."""

    async def echo(self, request: Any, _context: Any) -> Any:  # noqa: ANN401 - generated
        """Gives back the message."""
        return request


async def serve() -> None:
    """Runs the server."""
    app = web.Application()
    connect.add_services(app, [Echo()])
    runner = connect.app_runner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    measure.announce_server(runner.addresses[0][1])
    await asyncio.Event().wait()


def call(kind: str, url: str) -> None:
    """Runs a client."""
    message = messages.Trial(**FIELDS)
    if kind == "async":
        asyncio.set_event_loop(asyncio.new_event_loop())
        client = services.EchoServiceClient(connect.Transport(url))
        measure.run_async(lambda: client.echo(message), message)
    else:
        client = services.EchoServiceClientSync(connect.SyncTransport(url))
        measure.run_sync(lambda: client.echo(message), message)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve())
    else:
        call(sys.argv[1], f"http://127.0.0.1:{sys.argv[2]}")

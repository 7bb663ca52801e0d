"""aiohttp without any RPC: `python -m bench.rpc.sides.plain server | raw PORT | messages PORT`.

The floor for whoever builds on aiohttp: `raw` sends bytes and gets them back, `messages` writes and
reads them on both sides with betterproto2's own methods.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import aiohttp
from aiohttp import web

from bench.rpc.sides import measure
from bench.rpc.sides.message import FIELDS

Trial: Any = importlib.import_module("ours_gen.echo.v1").Trial


async def echo_raw(request: web.Request) -> web.Response:
    """Gives back the body."""
    return web.Response(body=await request.read(), content_type="application/proto")


async def echo_messages(request: web.Request) -> web.Response:
    """Gives back the message."""
    message = Trial.parse(await request.read())
    return web.Response(body=bytes(message), content_type="application/proto")


async def serve() -> None:
    """Runs the server."""
    app = web.Application()
    app.router.add_post("/raw", echo_raw)
    app.router.add_post("/messages", echo_messages)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    measure.announce_server(runner.addresses[0][1])
    await asyncio.Event().wait()


def call(kind: str, url: str) -> None:
    """Runs a client."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"content-type": "application/proto"})

    session = loop.run_until_complete(open_session())
    message = Trial(**FIELDS)
    body = bytes(message)

    async def call_raw() -> bytes:
        async with session.post(url, data=body) as response:
            return await response.read()

    async def call_messages() -> Any:  # noqa: ANN401 - generated
        async with session.post(url, data=bytes(message)) as response:
            return Trial.parse(await response.read())

    if kind == "raw":
        measure.run_async(call_raw, body)
    else:
        measure.run_async(call_messages, message)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve())
    else:
        call(sys.argv[1], f"http://127.0.0.1:{sys.argv[2]}/{sys.argv[1]}")

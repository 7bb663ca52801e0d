"""Readers who ask for something and do not read it: it waits for so long, and no longer."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from aiauto.server.connections import unread_bytes
from aiauto.server.slow_senders import LOOK_SECONDS, LOOKS, MIN_BYTES_PER_SECOND

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

    from aiohttp import web

LOGGER: Final = logging.getLogger("aiauto.server")

# `struct linger`: on, for no seconds.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class SlowReaders:
    """Ends connections whose other end does not read what it was sent."""

    def __init__(self, timeout: float) -> None:
        """Make it. Its `watch` does the work.

        Args:
            timeout: Seconds in which as many times `MIN_BYTES_PER_SECOND` bytes must be read of
                what waits.
        """
        self._timeout = timeout

    async def watch(self, server: web.Server) -> NoReturn:
        """End the connections that are not read from. Runs until it is cancelled.

        Args:
            server: The server that answers the application's requests.
        """
        loop = asyncio.get_running_loop()
        waiting: dict[web.RequestHandler, _Waiting] = {}
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._timeout / LOOKS))
            sizes = {one: unread_bytes(one) for one in server.connections}
            before, waiting = waiting, {}
            for connection, size in sizes.items():
                if not size:
                    continue
                known = before.get(connection) or _Waiting(size, loop.time())
                known.look(size)
                if loop.time() - known.since < self._timeout:
                    waiting[connection] = known
                elif known.moved >= self._timeout * MIN_BYTES_PER_SECOND:
                    waiting[connection] = _Waiting(size, loop.time())
                elif connection.transport is not None:
                    LOGGER.info("ended a connection in which %d bytes were not read", size)
                    _reset(connection.transport)


def _reset(transport: asyncio.Transport) -> None:
    """End a connection, not in peace: the other end would have to read for that."""
    opened: TransportSocket = transport.get_extra_info("socket")
    # Else the system keeps what it has for the other end, and goes on offering it.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


@dataclass
class _Waiting:
    """What waits in a connection.

    Attributes:
        size: How many bytes.
        since: From when on it is looked at.
        moved: How many bytes have come and gone since.
    """

    size: int
    since: float
    moved: int = 0

    def look(self, size: int) -> None:
        # More is written only where enough was read before, so that this counts as well.
        self.moved += abs(size - self.size)
        self.size = size

"""Callers who show tokens that are not valid."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import TYPE_CHECKING

from aiauto.errors import ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from aiauto.server.trusted_proxies import TrustedProxies

# People mistype; after so many failures in a row they wait, twice as long every time.
FREE_FAILURES = 5
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# Failures are forgotten when there were none for so long, or when too many callers fail.
MEMORY_SECONDS = 300.0
REMEMBERED_CALLERS = 10_000
# More than so many are not kept waiting at once: each holds a connection.
MAX_WAITING = 200
IPV6_PREFIX = 64


class FailedLogins:
    """Lets those wait who show tokens that are not valid, the longer the more often they did.

    Tokens are far too long to be guessed; but nobody should get to try at full speed, or fill the
    log. Whoever shows a valid one is never kept waiting, whoever else came from that address.
    """

    def __init__(
        self,
        proxies: TrustedProxies,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            proxies: Says where a request comes from.
            clock: Tells the time in seconds, and never jumps.
        """
        self._proxies = proxies
        self._clock = clock
        # By network: how many in a row, and when the last one was.
        self._failures: dict[str, tuple[int, float]] = {}
        self._waiting = 0

    def pause(self, address: str) -> float:
        """Note a failure.

        Args:
            address: Where it came from.

        Returns:
            Seconds to wait before answering.
        """
        network, moment = _network(address), self._clock()
        count, last = self._failures.pop(network, (0, moment))
        count = 1 if moment - last > MEMORY_SECONDS else count + 1
        if len(self._failures) >= REMEMBERED_CALLERS:
            self._failures.clear()
        self._failures[network] = (count, moment)
        excess = count - FREE_FAILURES
        if excess <= 0:
            return 0.0
        # The exponent is bounded too: whoever goes on for days must not make a huge number of it.
        return min(FIRST_PAUSE_SECONDS * 2.0 ** min(excess - 1, 16), LONGEST_PAUSE_SECONDS)

    async def slow_down(self, request: web.BaseRequest) -> None:
        """Note a failure, and wait.

        Args:
            request: The request that failed.

        Raises:
            ResourceExhaustedError: Too many wait already.
        """
        pause = self.pause(self._proxies.caller_of(request) or "")
        if not pause:
            return
        if self._waiting >= MAX_WAITING:
            raise ResourceExhaustedError("Too many failed log-ins: try again later.")
        self._waiting += 1
        try:
            await asyncio.sleep(pause)
        finally:
            self._waiting -= 1


def _network(address: str) -> str:
    """What one caller can choose addresses from: of IPv6 everybody has billions."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))

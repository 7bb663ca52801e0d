"""What the two sides of all contestants share: a client measures whenever a line tells it to.

Runs in the environments of all contestants, so it imports the standard library alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")

# Of each call in flight. Few do: the connections are there from the round before.
_WARM_UP_CALLS = 4


def announce_server(port: int) -> None:
    """Tells the port, and ends this process when the one that started it is gone."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    _tell({"port": port})


def run_async(call: Callable[[], Awaitable[T]], expected: T) -> None:
    """Measures an asynchronous call whenever told to.

    Args:
        call: Makes one. It is called in the current event loop, which must not run yet.
        expected: The answer. Looked at once only: comparing takes some libraries long.
    """
    loop = asyncio.get_event_loop()

    async def one(end: int) -> list[int]:
        clock = time.perf_counter_ns
        times: list[int] = []
        now = clock()
        while now < end:
            await call()
            before, now = now, clock()
            times.append(now - before)
        return times

    async def warm_up() -> None:
        for _ in range(_WARM_UP_CALLS):
            await call()

    async def measure(in_flight: int, seconds: float) -> dict[str, Any]:
        await asyncio.gather(*(warm_up() for _ in range(in_flight)))
        start = time.perf_counter_ns()
        end = start + int(seconds * 1e9)
        times = await asyncio.gather(*(one(end) for _ in range(in_flight)))
        return _summary(times, time.perf_counter_ns() - start)

    async def first() -> T:
        return await call()

    _check(loop.run_until_complete(first()), expected)
    for order in _orders():
        _tell(loop.run_until_complete(measure(order["in_flight"], order["seconds"])))


def run_sync(call: Callable[[], T], expected: T) -> None:
    """Measures a blocking call whenever told to.

    Args:
        call: Makes one, in any thread.
        expected: The answer.
    """

    def measure(in_flight: int, seconds: float) -> dict[str, Any]:
        times: list[list[int]] = [[] for _ in range(in_flight)]
        ready = threading.Barrier(in_flight + 1)

        def one(found: list[int]) -> None:
            clock = time.perf_counter_ns
            for _ in range(_WARM_UP_CALLS):
                call()
            ready.wait()
            now = clock()
            end = now + int(seconds * 1e9)
            while now < end:
                call()
                before, now = now, clock()
                found.append(now - before)

        threads = [threading.Thread(target=one, args=(found,)) for found in times]
        for thread in threads:
            thread.start()
        ready.wait()
        start = time.perf_counter_ns()
        for thread in threads:
            thread.join()
        return _summary(times, time.perf_counter_ns() - start)

    _check(call(), expected)
    for order in _orders():
        _tell(measure(order["in_flight"], order["seconds"]))


def _check(answer: object, expected: object) -> None:
    if answer != expected:
        sys.exit(f"the answer is not what was sent: {answer!r}")


def _orders() -> Iterator[dict[str, Any]]:
    """What to measure, line by line, until the parent closes the pipe."""
    _tell({"ready": True})
    for line in sys.stdin:
        yield json.loads(line)


def _summary(times: list[list[int]], elapsed: int) -> dict[str, Any]:
    every = sorted(time for found in times for time in found)
    return {
        "calls": len(every),
        "p50_us": every[len(every) // 2] / 1000,
        "p99_us": every[len(every) * 99 // 100] / 1000,
        "per_second": len(every) / elapsed * 1e9,
        "warm_up_calls": _WARM_UP_CALLS * len(times),
    }


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()

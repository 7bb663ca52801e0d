"""Contestants: a server and a client each, in processes of their own, measured in turns."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, cast

import psutil

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from bench.rpc.environments import Environment

LATENCY_IN_FLIGHT: Final = 1
THROUGHPUT_IN_FLIGHT: Final = 16


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        name: As the report shows it.
        environment: Key of what it runs in: `ours`, `grpc` or `connectrpc`.
        module: Module in `bench.rpc.sides` with both sides.
        server: Its argument for the server.
        client: Its argument for the client.
    """

    name: str
    environment: str
    module: str
    server: str
    client: str


FLOOR: Final = "aiohttp, raw bytes"

CONTESTANTS: Final = (
    Contestant(FLOOR, "ours", "plain", "server", "raw"),
    Contestant("aiohttp + betterproto2", "ours", "plain", "server", "messages"),
    Contestant("aiauto.connect, async", "ours", "ours", "server", "async"),
    Contestant("aiauto.connect, sync", "ours", "ours", "server", "sync"),
    Contestant("connectrpc, async", "connectrpc", "connectrpc_official", "asyncio", "async"),
    Contestant("connectrpc, sync", "connectrpc", "connectrpc_official", "asyncio", "sync"),
    # As `pip install uvicorn[standard]` has it; everybody else runs on Python's own event loop.
    Contestant("connectrpc, async, uvloop", "connectrpc", "connectrpc_official", "uvloop", "async"),
    Contestant("connectrpc, sync, uvloop", "connectrpc", "connectrpc_official", "uvloop", "sync"),
    Contestant("grpc.aio", "grpc", "grpc_io", "aio-server", "async"),
    Contestant("grpcio, sync", "grpc", "grpc_io", "server", "sync"),
)


@dataclass
class Measured:
    """What one contestant did in every round; the same place in a list is the same round."""

    p50_us: list[float] = field(default_factory=list[float])
    p99_us: list[float] = field(default_factory=list[float])
    per_second: list[float] = field(default_factory=list[float])
    cpu_us: list[float] = field(default_factory=list[float])


class Runner:
    """A contestant's two processes. Ends them on exit.

    Args:
        contestant: Who.
        environment: What it runs in.
    """

    def __init__(self, contestant: Contestant, environment: Environment) -> None:
        self.measured: Measured = Measured()
        self._name = contestant.name
        self._processes: list[subprocess.Popen[str]] = []
        try:
            server = self._start(contestant, environment, contestant.server)
            port = str(self._read(server)["port"])
            self._client = self._start(contestant, environment, contestant.client, port)
            self._read(self._client)
        except BaseException:
            self._end()
            raise

    def _start(
        self, contestant: Contestant, environment: Environment, *arguments: str
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [environment.python, "-m", f"bench.rpc.sides.{contestant.module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment.variables(),
        )
        self._processes.append(process)
        return process

    def _read(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        line = cast("IO[str]", process.stdout).readline()
        if not line:
            raise RuntimeError(f"a process of {self._name!r} has ended; what it said is above")
        return cast("dict[str, Any]", json.loads(line))

    def measure_latency(self, seconds: float) -> None:
        """Measures with one request in flight."""
        found = self._order(LATENCY_IN_FLIGHT, seconds)
        self.measured.p50_us.append(found["p50_us"])
        self.measured.p99_us.append(found["p99_us"])

    def measure_throughput(self, seconds: float) -> None:
        """Measures with many requests in flight."""
        found = self._order(THROUGHPUT_IN_FLIGHT, seconds)
        self.measured.per_second.append(found["per_second"])
        self.measured.cpu_us.append(found["cpu_us"])

    def _order(self, in_flight: int, seconds: float) -> dict[str, Any]:
        orders = cast("IO[str]", self._client.stdin)
        before = self._cpu_seconds()
        orders.write(json.dumps({"in_flight": in_flight, "seconds": seconds}) + "\n")
        orders.flush()
        found = self._read(self._client)
        # Both processes', of the calls that warm up too.
        spent = self._cpu_seconds() - before
        found["cpu_us"] = spent * 1e6 / (found["calls"] + found["warm_up_calls"])
        return found

    def _cpu_seconds(self) -> float:
        spent = [psutil.Process(process.pid).cpu_times() for process in self._processes]
        return sum(times.user + times.system for times in spent)

    def _end(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()


def compete(runners: list[Runner], rounds: int, seconds: float) -> float:
    """Measures everybody in turns, so that what else the machine does falls on all alike.

    Args:
        runners: They.
        rounds: How often each is measured.
        seconds: How long, for latency and for throughput each.

    Returns:
        How many seconds it took.
    """
    start = time.monotonic()
    for number in range(rounds):
        # Everybody begins a round, and follows somebody else, equally often.
        first = number % len(runners)
        order = [*runners[first:], *runners[:first]]
        for runner in order:
            runner.measure_latency(seconds)
        for runner in reversed(order):
            runner.measure_throughput(seconds)
    return time.monotonic() - start

"""What a study asks of its server, in two forms: blocking, and on the event loop of the caller.

What goes on between the calls is written once, as coroutines over `Calls`. With `BlockingCalls`
nothing in them ever waits for an event loop, so that `finish` runs one to its end like a function:
in the caller's thread, whether or not a loop runs there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiauto_gen.aiauto.v1.connect import (
    AIAutoServiceClient,
    LogServiceClient,
    ProgressServiceClient,
)

from aiauto import config
from aiauto.connect import RetryPolicy, Transport
from aiauto.errors import UnavailableError
from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
    )
    from contextlib import AbstractAsyncContextManager

    from aiauto_gen.aiauto import v1
    from typing_extensions import Self

    from aiauto.connection import Connection

T = TypeVar("T")


class Calls(Protocol):
    """The calls of a study, and the passing of time."""

    async def optimize(self, request: v1.OptimizeRequest) -> v1.OptimizeResponse:
        """Start a batch."""
        ...

    async def get_status(self, request: v1.GetStatusRequest) -> v1.GetStatusResponse:
        """Ask how the batches are doing."""
        ...

    async def list_gpu_flavors(
        self, request: v1.ListGpuFlavorsRequest
    ) -> v1.ListGpuFlavorsResponse:
        """Ask which GPUs there are."""
        ...

    def watch_trial_batch(
        self, request: v1.WatchTrialBatchRequest, *, timeout: float
    ) -> AbstractAsyncContextManager[AsyncIterator[v1.WatchTrialBatchResponse]]:
        """Stream how a batch advances."""
        ...

    def stream_logs(
        self, request: v1.StreamLogsRequest, *, timeout: float
    ) -> AbstractAsyncContextManager[AsyncIterator[v1.StreamLogsResponse]]:
        """Stream what workers print."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def work(self, function: Callable[[], T]) -> T:
        """Run what computes for a while."""
        ...


class BlockingCalls:
    """Calls that have been answered when they return: nothing is left to wait for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def optimize(self, request: v1.OptimizeRequest) -> v1.OptimizeResponse:
        """Start a batch."""
        return self._connection.service.optimize(request)

    async def get_status(self, request: v1.GetStatusRequest) -> v1.GetStatusResponse:
        """Ask how the batches are doing."""
        return self._connection.service.get_status(request)

    async def list_gpu_flavors(
        self, request: v1.ListGpuFlavorsRequest
    ) -> v1.ListGpuFlavorsResponse:
        """Ask which GPUs there are."""
        return self._connection.service.list_gpu_flavors(request)

    @contextlib.asynccontextmanager
    async def watch_trial_batch(
        self, request: v1.WatchTrialBatchRequest, *, timeout: float
    ) -> AsyncGenerator[AsyncIterator[v1.WatchTrialBatchResponse], None]:
        """Stream how a batch advances."""
        with self._connection.progress.watch_trial_batch(request, timeout=timeout) as stream:
            yield _each(stream)

    @contextlib.asynccontextmanager
    async def stream_logs(
        self, request: v1.StreamLogsRequest, *, timeout: float
    ) -> AsyncGenerator[AsyncIterator[v1.StreamLogsResponse], None]:
        """Stream what workers print."""
        with self._connection.log.stream_logs(request, timeout=timeout) as stream:
            yield _each(stream)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)  # noqa: ASYNC251 - this is the blocking form

    async def work(self, function: Callable[[], T]) -> T:
        """Run what computes for a while."""
        return function()


class AsyncCalls:
    """Calls on the caller's event loop, over connections of their own. Use it with `async with`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: Transport | None = None
        self._address: tuple[str, str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._transport is not None:
            await self._transport.close()

    async def optimize(self, request: v1.OptimizeRequest) -> v1.OptimizeResponse:
        """Start a batch."""
        return await self._call(lambda service: service.optimize(request))

    async def get_status(self, request: v1.GetStatusRequest) -> v1.GetStatusResponse:
        """Ask how the batches are doing."""
        return await self._call(lambda service: service.get_status(request))

    async def list_gpu_flavors(
        self, request: v1.ListGpuFlavorsRequest
    ) -> v1.ListGpuFlavorsResponse:
        """Ask which GPUs there are."""
        return await self._call(lambda service: service.list_gpu_flavors(request))

    @contextlib.asynccontextmanager
    async def watch_trial_batch(
        self, request: v1.WatchTrialBatchRequest, *, timeout: float
    ) -> AsyncGenerator[AsyncIterator[v1.WatchTrialBatchResponse], None]:
        """Stream how a batch advances."""
        client = ProgressServiceClient(await self._reach())
        async with client.watch_trial_batch(request, timeout=timeout) as stream:
            yield aiter(stream)

    @contextlib.asynccontextmanager
    async def stream_logs(
        self, request: v1.StreamLogsRequest, *, timeout: float
    ) -> AsyncGenerator[AsyncIterator[v1.StreamLogsResponse], None]:
        """Stream what workers print."""
        client = LogServiceClient(await self._reach())
        async with client.stream_logs(request, timeout=timeout) as stream:
            yield aiter(stream)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[[], T]) -> T:
        """Run what computes for a while, in a thread."""
        return await asyncio.to_thread(function)

    async def _call(self, call: Callable[[AIAutoServiceClient], Awaitable[T]]) -> T:
        transport = await self._reach()
        try:
            return await call(AIAutoServiceClient(transport))
        except UnavailableError:
            # The server of this machine may have come back elsewhere. Each of these calls may be
            # sent again.
            again = await self._reach()
            if again is transport:
                raise
            return await call(AIAutoServiceClient(again))

    async def _reach(self) -> Transport:
        """The way to the server, wherever it is by now."""
        # To find the server of this machine, and to start it, takes a while.
        server = await asyncio.to_thread(self._connection.server)
        address = server.url, server.token
        if self._transport is None or address != self._address:
            if self._transport is not None:
                await self._transport.close()
            # The server of this machine is not waited for: where it is away it is started.
            is_remote = isinstance(server, config.Remote)
            self._transport = Transport(
                server.url,
                token=server.token,
                timeout=config.CALL_TIMEOUT,
                headers={"x-client-version": __version__},
                retries=RetryPolicy(patience=config.CALL_PATIENCE if is_remote else 0.0),
                ssl_context=config.ssl_context(),
            )
            self._address = address
        return self._transport


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine over `BlockingCalls` to its end.

    Args:
        coroutine: It.

    Returns:
        What it returns.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    message = "a blocking call waited for an event loop"
    raise RuntimeError(message)


def iterate(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Iterate over what a generator over `BlockingCalls` yields.

    Args:
        items: The generator. It is closed when this is.

    Yields:
        The same.
    """

    async def following() -> list[T]:
        # In a list, so that no value stands for the end.
        async for item in items:
            return [item]
        return []

    async def close() -> None:
        await items.aclose()

    try:
        while item := finish(following()):
            yield item[0]
    finally:
        finish(close())


async def _each(items: Iterable[T]) -> AsyncGenerator[T, None]:
    for item in items:
        yield item

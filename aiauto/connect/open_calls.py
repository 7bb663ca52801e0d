"""The calls of a transport that have not ended, on one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiauto.connect.deadline import timeout_at
from aiauto.connect.errors import (
    CanceledError,
    DeadlineExceededError,
    RpcError,
    UnavailableError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["CallLimit", "OpenCalls"]


class OpenCalls:
    """They, so that they end when the transport is closed.

    aiohttp leaves whoever waits for an answer waiting when its session is closed.

    Attributes:
        closed: Whether the transport was closed.
        limits: What ends them.
        last_ended: When the last one has ended, on the loop's clock.
    """

    def __init__(self) -> None:
        self.closed: bool = False
        self.limits: set[CallLimit] = set()
        self.last_ended: float = 0.0

    def end(self) -> None:
        """Ends all of them with a `CanceledError`."""
        self.closed = True
        for limit in self.limits:
            limit.expire()


class CallLimit:
    """Ends a block of a call at the call's deadline, or when the transport is closed.

    Args:
        calls: The calls that it is one of.
        path: Path of the method.
        seconds: The whole time of the call, None for no limit.
        deadline: Moment on the loop's clock at which that is over, None for never.

    Attributes:
        deadline: As above.
        last_failure: Why the last attempt failed, if one did.
    """

    def __init__(
        self, calls: OpenCalls, path: str, *, seconds: float | None, deadline: float | None
    ) -> None:
        self.deadline: float | None = deadline
        self.last_failure: RpcError | None = None
        self._calls = calls
        self._path = path
        self._seconds = seconds
        self._timeout = timeout_at(deadline)

    def expire(self) -> None:
        """Ends the block now."""
        self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> Self:
        if self._calls.closed:
            raise self._reason()
        await self._timeout.__aenter__()
        self._calls.limits.add(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.limits.discard(self)
        self._calls.last_ended = asyncio.get_running_loop().time()
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError:
            raise self._reason() from self.last_failure
        if self._calls.closed and isinstance(exc, Exception):
            # Whatever aiohttp made of its session being closed; but not what the server said.
            if isinstance(exc, RpcError) and not isinstance(exc, UnavailableError):
                return
            raise self._reason() from exc

    def _reason(self) -> RpcError:
        if self._calls.closed:
            return CanceledError(f"{self._path} was cancelled: its transport was closed")
        message = f"{self._path} took longer than its timeout of {self._seconds} s"
        if self.last_failure is not None:
            message += f"; the last attempt failed: {self.last_failure}"
        return DeadlineExceededError(message)

"""The calls of a transport that have not ended, on one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiauto.connect.deadline import Deadlines, TimeLimit
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

# No server closes a connection that was idle for less.
_IDLE_SECONDS: Final = 0.1


class OpenCalls(Deadlines):
    """They, so that they end at their deadlines and when the transport is closed.

    aiohttp leaves whoever waits for an answer waiting when its session is closed.

    Args:
        loop: The event loop.

    Attributes:
        loop: The same.
        closed: Whether the transport was closed.
        last_ended: When the last one has ended, on the loop's clock.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.closed: bool = False
        self.last_ended: float = 0.0

    def are_stale(self) -> bool:
        """Whether no call has ended lately, so that connections may have been closed since."""
        return self.loop.time() - self.last_ended > _IDLE_SECONDS

    async def settle(self) -> None:
        """Lets the loop notice which kept connections their servers have closed.

        A request on one of those is lost, which matters where it can't be sent again. The loop
        notices by itself while it is free: not where a program has kept it busy, or where it runs
        for blocking calls only.
        """
        # Once round to ask the sockets, and once to hear what they said.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def end(self) -> None:
        """Ends all of them with a `CanceledError`."""
        self.closed = True
        for limit in self.limits:
            limit.expire()


class CallLimit(TimeLimit):
    """Ends a block of a call at the call's deadline, or when the transport is closed.

    Args:
        calls: The calls that it is one of.
        path: Path of the method.
        seconds: The whole time of the call, None for no limit.
        deadline: Moment on the loop's clock at which that is over, None for never.

    Attributes:
        last_failure: Why the last attempt failed, if one did.
    """

    __slots__ = ("_calls", "_path", "_seconds", "last_failure")

    def __init__(
        self, calls: OpenCalls, path: str, *, seconds: float | None, deadline: float | None
    ) -> None:
        super().__init__(calls, deadline)
        self.last_failure: RpcError | None = None
        self._calls = calls
        self._path = path
        self._seconds = seconds

    def __enter__(self) -> Self:
        if self._calls.closed:
            raise self._reason()
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.last_ended = self._calls.loop.time()
        try:
            super().__exit__(exc_type, exc, traceback)
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

"""A moment by which something must be over."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["timeout_at"]


class timeout_at:  # noqa: N801 - stands in for asyncio's
    """What `asyncio.timeout_at` is, at a third of its price: every call needs one on each side."""

    __slots__ = ("_cancelling", "_expired", "_handle", "_task", "_when")

    def __init__(self, when: float | None) -> None:
        self._when = when
        self._handle: asyncio.Handle | None = None
        self._task: asyncio.Task[object] | None = None
        self._expired = False
        self._cancelling = 0

    def expired(self) -> bool:
        """Whether the moment came while the block ran."""
        return self._expired

    async def __aenter__(self) -> Self:
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline can only be used inside a task")
        if sys.version_info >= (3, 11):  # before, a task does not count who has cancelled it
            self._cancelling = task.cancelling()
        if self._when is not None:
            self._handle = asyncio.get_running_loop().call_at(self._when, self._expire)
        return self

    def reschedule(self, when: float | None) -> None:
        """Sets another moment."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if when is not None and self._task is not None and not self._expired:
            loop = asyncio.get_running_loop()
            if when <= loop.time():
                self._handle = loop.call_soon(self._expire)
            else:
                self._handle = loop.call_at(when, self._expire)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        task, self._task, self._handle = self._task, None, None
        if not self._expired or task is None:
            return
        # Somebody else may have cancelled the task too, who must get what they want.
        if sys.version_info >= (3, 11) and task.uncancel() > self._cancelling:
            return
        if exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def _expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()

"""A moment by which something must be over."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    if TYPE_CHECKING:
        from types import TracebackType

        from typing_extensions import Self

    class timeout_at:  # noqa: N801 - stands in for asyncio's
        """What `asyncio.timeout_at` is on Python 3.11 and newer."""

        def __init__(self, when: float | None) -> None:
            self._when = when
            self._task: asyncio.Task[object] | None = None
            self._handle: asyncio.Handle | None = None
            self._expired = False

        def expired(self) -> bool:
            """Whether the moment came while the block ran."""
            return self._expired

        def reschedule(self, when: float | None) -> None:
            """Sets another moment."""
            if self._handle is not None:
                self._handle.cancel()
                self._handle = None
            if when is not None and self._task is not None:
                loop = asyncio.get_running_loop()
                self._handle = loop.call_at(when, self._expire, self._task)

        async def __aenter__(self) -> Self:
            self._task = asyncio.current_task()
            if self._task is None:
                raise RuntimeError("a deadline can only be used inside a task")
            self.reschedule(self._when)
            return self

        async def __aexit__(
            self,
            exc_type: type[BaseException] | None,
            exc: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            if self._handle is not None:
                self._handle.cancel()
            if self._expired and exc_type is asyncio.CancelledError:
                raise TimeoutError from exc

        def _expire(self, task: asyncio.Task[object]) -> None:
            self._expired = True
            task.cancel()


__all__ = ["timeout_at"]

"""Moments by which something must be over."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Deadlines", "TimeLimit"]


class Deadlines:
    """Ends blocks of code at their deadlines, all on the same event loop.

    Every call has a deadline, on each side, and hardly any comes that far. So one timer serves all
    of them, set for the earliest: nearly every call finds it set, and leaves it as it is.

    Args:
        loop: The event loop, where it is known already. To ask for it is a system call before
            Python 3.12, so those who are called often pass on what they know.

    Attributes:
        loop: The same.
        limits: The blocks that run.
        earliest: The moment at which the timer is set to look at them, infinity for none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self.limits: set[TimeLimit] = set()
        self.earliest: float = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set_timer(self, when: float) -> None:
        """Looks at the blocks at a moment before the earliest so far."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._expire)
        self.earliest = when

    def _expire(self) -> None:
        self._timer, self.earliest = None, math.inf
        now = asyncio.get_running_loop().time()
        for limit in list(self.limits):
            if limit.when <= now:
                limit.expire()
        earliest = min((one.when for one in self.limits if one.when > now), default=math.inf)
        if earliest < math.inf:
            self.set_timer(earliest)


class TimeLimit:
    """What `asyncio.timeout_at` is, at a fraction of its price.

    There is nothing to wait for at either end of the block, so it is a plain `with`.

    Args:
        deadlines: What watches over it.
        when: The moment on the loop's clock, None for never.

    Attributes:
        when: The same, infinity for never.
    """

    __slots__ = ("__weakref__", "_cancelling", "_deadlines", "_expired", "_task", "when")

    def __init__(self, deadlines: Deadlines, when: float | None) -> None:
        self.when: float = math.inf if when is None else when
        self._deadlines = deadlines
        self._task: asyncio.Task[object] | None = None
        self._expired = False
        self._cancelling = 0

    def expired(self) -> bool:
        """Whether the moment came while the block ran."""
        return self._expired

    def expire(self) -> None:
        """Ends the block now."""
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def __enter__(self) -> Self:
        deadlines = self._deadlines
        task = self._task = asyncio.current_task(deadlines.loop)
        if task is None:
            raise RuntimeError("a deadline can only be used inside a task")
        if sys.version_info >= (3, 11):  # before, a task does not count who has cancelled it
            self._cancelling = task.cancelling()
        deadlines.limits.add(self)
        if self.when < deadlines.earliest:
            deadlines.set_timer(self.when)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._deadlines.limits.discard(self)
        task, self._task = self._task, None
        if not self._expired or task is None:
            return
        # Somebody else may have cancelled the task too, who must get what they want.
        if sys.version_info >= (3, 11) and task.uncancel() > self._cancelling:
            return
        if exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

"""Ctrl-C during a blocking call cancels the call, as `asyncio.Runner` does for a program.

Python's own handler raises KeyboardInterrupt in the middle of whatever the main thread does. Where
that is the inside of an event loop, a callback or a task that others wait for is lost with it.
"""

from __future__ import annotations

import importlib
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

__all__ = ["Interrupt"]

# What `signal` stands on. That looks each handler up among the members of an enum first, where no
# function is, and the exceptions take longer than all else that a blocking call adds.
_signals: Final[Any] = importlib.import_module("_signal")


class Interrupt:
    """The first Ctrl-C while it is entered cancels a task, and is raised at the exit.

    The next one is raised where it comes.

    Where the program has a handler of its own, or in any thread but the main one, which signals
    don't reach, nothing changes.

    Args:
        task: What to cancel.
    """

    __slots__ = ("_came", "_is_set", "_task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._came = False
        self._task = task
        self._is_set = False

    def __enter__(self) -> None:
        if (
            threading.get_ident() == threading.main_thread().ident
            and _signals.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            try:
                _signals.signal(signal.SIGINT, self._handle)
            except ValueError:  # the main thread of an interpreter beside the main one
                return
            self._is_set = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._came or self._task.done():
            signal.default_int_handler(number, frame)
        self._came = True
        self._task.cancel()
        # The loop may be waiting for its sockets, and nothing else would wake it.
        self._task.get_loop().call_soon_threadsafe(_wake)

    def __exit__(self, *raised: object) -> None:
        if self._is_set and _signals.getsignal(signal.SIGINT) == self._handle:
            _signals.signal(signal.SIGINT, signal.default_int_handler)
        if self._came:
            raise KeyboardInterrupt from None


def _wake() -> None:
    """Nothing: the loop looks at what is ready once it has been woken."""

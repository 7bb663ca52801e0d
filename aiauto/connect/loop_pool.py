"""Event loops for blocking calls, which run in the threads of those who call.

To hand a call to another thread and wait for it costs as much as the rest of the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiauto.connect import forks
from aiauto.connect.call_loop import CallLoop
from aiauto.connect.interrupts import Interrupt

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiauto.connect.client import Transport

__all__ = ["LoopPool", "is_loop_running"]

T = TypeVar("T")

# A loop that was idle for so long is closed: its connections are not used any more either.
_IDLE_SECONDS: Final = 15.0
# Connections that were idle for less have not been closed meanwhile.
_SHORT_SECONDS: Final = 0.05
# So long may a call take to end after Ctrl-C, or what it has left behind.
_END_SECONDS: Final = 2.0


def is_loop_running() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class LoopPool:
    """Runs calls of a transport, each in the thread of its caller on a loop of its own meanwhile.

    There are as many loops as there were calls at a time. They keep their connections for the next
    call, of any thread; the latest one that was used is used first.

    Args:
        transport: What the calls are of.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._begin()
        forks.watch(self)

    def _begin(self) -> None:
        self._idle: deque[tuple[float, CallLoop]] = deque()
        self._busy: set[CallLoop] = set()
        self._retired: set[CallLoop] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LoopPool], tuple[Transport]]:
        return LoopPool, (self._transport,)

    def forget(self) -> None:
        """Leaves the loops to the parent process."""
        forks.abandon((self._idle, self._busy, self._retired))
        # With a lock of its own: another thread of the parent may hold the old one, and that
        # thread is not here to free it.
        self._begin()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Makes a call. No event loop must run in this thread.

        Ctrl-C cancels it, and is raised when it has ended.
        """
        try:
            loop = self._take()
        except BaseException:
            call.close()
            raise
        task = loop.create_task(call)
        try:
            with Interrupt(task):
                return loop.run_until_complete(task)
        except BaseException:
            _end({task}, loop)
            raise
        finally:
            self._give_back(loop)

    def _take(self) -> CallLoop:
        with self._lock:
            if self._idle:
                since, loop = self._idle.pop()
                self._busy.add(loop)
                if time.monotonic() - since > _SHORT_SECONDS:
                    loop.look_up()
                return loop
        loop = CallLoop()
        with self._lock:
            self._busy.add(loop)
        return loop

    def _give_back(self, loop: CallLoop) -> None:
        now = time.monotonic()
        unused: CallLoop | None = None
        with self._lock:
            if loop in self._busy:
                self._busy.remove(loop)
                self._idle.append((now, loop))
                if now - self._idle[0][0] > _IDLE_SECONDS:
                    unused = self._idle.popleft()[1]
            elif loop in self._retired:
                self._retired.remove(loop)
                unused = loop
            # Else this process was forked off in the middle of the call.
        if unused is not None:
            self._close_loop(unused)

    def close(self, *, wait: bool = True) -> None:
        """Ends the calls, and closes the connections and the loops.

        What other threads run they close themselves, when their calls have ended.

        Args:
            wait: Whether to wait where another thread has to do it, since a loop runs in this one.
        """
        with self._lock:
            idle, self._idle = [loop for _, loop in self._idle], deque()
            busy, self._busy = self._busy, set()
            self._retired |= busy
        for loop in busy:
            with contextlib.suppress(RuntimeError):  # it has been closed meanwhile
                loop.call_soon_threadsafe(self._transport.end_calls)
        if idle and is_loop_running():
            closing = threading.Thread(target=self._close_loops, args=(idle,), daemon=True)
            closing.start()
            if wait:
                closing.join()
        else:
            self._close_loops(idle)

    def _close_loops(self, loops: list[CallLoop]) -> None:
        for loop in loops:
            self._close_loop(loop)

    def _close_loop(self, loop: CallLoop) -> None:
        try:
            loop.run_until_complete(self._transport.close())
            _end(asyncio.all_tasks(loop), loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


def _end(tasks: set[asyncio.Task[Any]], loop: CallLoop) -> None:
    """Cancels what has not ended, and waits until it has."""
    left = {task for task in tasks if not task.done()}
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=_END_SECONDS))
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # or asyncio reports that nobody has asked for it

"""One event loop in a thread of its own, on which the blocking calls of a process run."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

__all__ = ["BackgroundLoop", "get"]

T = TypeVar("T")

_STOP_SECONDS: Final = 2.0


class BackgroundLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.process_id = os.getpid()
        self._thread = threading.Thread(target=self._run, name="aiauto-connect", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Starts a coroutine in the loop, from any other thread.

        Raises:
            RuntimeError: The caller runs in the loop, which it would block.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "a blocking call was made from the event loop that carries out blocking calls, "
                "where it would wait for itself: use the asynchronous client there"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Starts a coroutine in the loop, from any thread, and forgets it."""

        def start() -> None:
            task = self.loop.create_task(function())
            # The loop itself holds its tasks only weakly.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(start)

    def stop(self) -> None:
        """Ends the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()


class _State:
    """What there is once a process."""

    background: BackgroundLoop | None = None
    lock = threading.Lock()
    # Loops of a parent process. They share the parent's selector, so closing them here, or letting
    # them be collected, would break the parent's.
    abandoned: Final[list[BackgroundLoop]] = []


def get() -> BackgroundLoop:
    """The loop of this process, started when it is first needed."""
    found = _State.background
    if found is not None and found.process_id == os.getpid():
        return found
    with _State.lock:
        found = _State.background
        if found is None or found.process_id != os.getpid():
            if found is not None:
                _State.abandoned.append(found)
            found = _State.background = BackgroundLoop()
    return found


def is_running() -> bool:
    """Whether this process has such a loop."""
    found = _State.background
    return found is not None and found.process_id == os.getpid()


def _after_fork() -> None:
    # Another thread of the parent may have held the lock, and that thread is not here to free it.
    _State.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _stop() -> None:
    found = _State.background
    if found is not None and is_running():
        _State.background = None
        found.stop()

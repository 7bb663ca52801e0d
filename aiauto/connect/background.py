"""One event loop in a thread of its own, for all blocking clients of a process.

On it runs what streams, and what is called where another event loop runs. All else runs in the
threads of those who call: see `loop_pool`.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiauto.connect import forks

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

__all__ = ["BackgroundLoop", "get"]

T = TypeVar("T")

_STOP_SECONDS: Final = 2.0


class BackgroundLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="aiauto-connect", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def is_current_thread(self) -> bool:
        """Whether the caller runs in the loop's thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Starts a coroutine in the loop, from any other thread.

        Raises:
            RuntimeError: The caller runs in the loop, which it would block.
        """
        if self.is_current_thread():
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


class _Holder:
    """Holds the loop of this process."""

    def __init__(self) -> None:
        self.background: BackgroundLoop | None = None
        self._lock = threading.Lock()

    def get(self) -> BackgroundLoop:
        with self._lock:
            if self.background is None:
                self.background = BackgroundLoop()
            return self.background

    def forget(self) -> None:
        if self.background is not None:
            forks.abandon(self.background.loop)
            self.background = None
        # Another thread of the parent may hold the lock, and that thread is not here to free it.
        self._lock = threading.Lock()


_holder: Final = _Holder()
forks.watch(_holder)


def get() -> BackgroundLoop:
    """The loop of this process, started when it is first needed."""
    return _holder.background or _holder.get()


def is_running() -> bool:
    """Whether this process has such a loop."""
    return _holder.background is not None


def runs(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether a loop is this process's own, and has not ended."""
    return _holder.background is not None and _holder.background.loop is loop


@atexit.register
def _stop() -> None:
    if _holder.background is not None:
        _holder.background.stop()
        _holder.background = None

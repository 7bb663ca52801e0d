"""Processes that an objective starts as forks: signals end them as they end any process."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

USUAL: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}


def end_as_usual(handler: Callable[..., None]) -> None:
    """Let forks of this process end by the signals that it has a handler for.

    What a worker does when it is stopped is nothing for them: `multiprocessing.Pool` ends its
    processes by SIGTERM, and waits until they have.

    Args:
        handler: Handles SIGTERM and SIGINT here. One that an objective sets is left to forks too.
    """
    if not hasattr(os, "register_at_fork"):
        return
    held = threading.local()

    def hold() -> None:
        # One that comes in between would be lost, or be handled as here.
        held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, USUAL)

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

    def release_fork() -> None:
        # Only a main thread may, which in a fork is the one that made it.
        for number, usual in USUAL.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, usual)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=release_fork)

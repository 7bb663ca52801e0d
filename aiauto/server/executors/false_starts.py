"""Workers that end before they have leased a trial: whether to try again, and when."""

from __future__ import annotations

import errno
import signal
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# After so many in a row that end by themselves the batch can't run here.
MAX_EXITS = 3
# Pauses after those that were killed. They double up to the longest: three quarters of an hour in
# all, after which whatever kills them does not look like something that passes.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 120.0
MAX_PAUSES = 30

# What a program does to itself; any other signal somebody has sent.
_CRASHES: Final = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
)
# Of `aiauto.runner.worker.Exit`: it was asked to end (SIGTERM), or the server was away for long.
_STOPPED: Final = 3
_SERVER_LOST: Final = 4
# Too little memory, too little disk, too many processes or open files.
_PASSING_TROUBLES: Final = frozenset(
    {
        errno.EAGAIN,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
    }
)


class FalseStarts:
    """What the workers of one batch that ended before their first lease tell of it.

    One that ends by itself tells that the objective or its environment does not work here, and the
    next ones will do the same. One that is killed tells nothing of them: the machine was out of
    memory, or an administrator or a scheduler wanted its place. Another one is started after a
    pause, which grows.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Count from nothing.

        Args:
            clock: Tells the time in seconds.
        """
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """A worker has leased a trial: whatever was the matter has passed."""
        self._exits = 0
        self._pauses = 0
        self._paused_until = float("-inf")
        self._last_words = ""

    def note(self, message: str, *, is_passing: bool) -> None:
        """A worker has ended before its first lease.

        Args:
            message: How, in a sentence.
            is_passing: Whether it may be no fault of the batch.
        """
        self._last_words = message
        if not is_passing:
            self._exits += 1
        # Workers that are killed together are one reason to pause.
        if (is_passing or self._exits >= MAX_EXITS) and self.pause == 0:
            self._pauses += 1
            seconds = min(FIRST_PAUSE_SECONDS * 2 ** (self._pauses - 1), LONGEST_PAUSE_SECONDS)
            self._paused_until = self._clock() + seconds

    @property
    def pause(self) -> float:
        """Seconds until another worker should be started; 0 for at once."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def waits_for(self) -> str:
        """What keeps the batch from having all of its workers, for its user."""
        return (
            "Workers end before they can run a trial; another one is started after a pause. The "
            f"last one: {self._last_words}"
        )

    @property
    def verdict(self) -> str:
        """Why the batch can't run here; empty where it may."""
        if self._exits >= MAX_EXITS:
            count = f"{MAX_EXITS} workers in a row"
        elif self._pauses > MAX_PAUSES:
            count = f"In {MAX_PAUSES} attempts, ever longer apart, all workers"
        else:
            return ""
        return f"{count} ended before they could run a trial. The last one: {self._last_words}"


def may_pass(exit_code: int | None) -> bool:
    """Whether the end of a worker may be no fault of its batch.

    Args:
        exit_code: Its exit code, negative for a signal; None where it is not known.
    """
    if exit_code is None:
        return True
    return exit_code in {_STOPPED, _SERVER_LOST} or (exit_code < 0 and -exit_code not in _CRASHES)


def may_start_later(error: OSError) -> bool:
    """Whether a worker that can't be started may be in a while."""
    # A connection is one to the process that forks workers: it has gone in the middle of it.
    return isinstance(error, ConnectionError) or error.errno in _PASSING_TROUBLES

"""An event loop that makes one call at a time."""

from __future__ import annotations

import asyncio
import selectors
from typing import Final

__all__ = ["CallLoop"]

# In so many rounds in a row the sockets may go unasked.
_LONGEST_INATTENTION: Final = 8
# A server that has closed a connection is noticed in the first of these, and the rest clears up.
_ATTENTIVE_ROUNDS: Final = 3


class CallLoop(asyncio.SelectorEventLoop):
    """Asks the sockets hardly ever but when it has nothing else to do.

    A loop asks them in each of its rounds, also where callbacks wait for their turn: so that a busy
    program is fair to all of its connections. With one call at a time there are four rounds a call
    and one answer to wait for. Each question costs a system call, during which other threads take
    the interpreter: with 16 threads that call, a quarter more calls come through without them.
    """

    def __init__(self) -> None:
        self._sockets = _Sockets()
        super().__init__(self._sockets)

    def look_up(self) -> None:
        """Asks the sockets in the next rounds in any case: for after a pause."""
        self._sockets.attentive_rounds = _ATTENTIVE_ROUNDS


class _Sockets(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.attentive_rounds = 0
        self._unasked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits for sockets; where there is no time to wait it may as well not ask."""
        if self.attentive_rounds:
            self.attentive_rounds -= 1
        elif timeout == 0 and self._unasked < _LONGEST_INATTENTION:
            self._unasked += 1
            return []
        self._unasked = 0
        return super().select(timeout)

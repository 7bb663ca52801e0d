"""Streams that say something now and then also where nothing happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Proxies cut what is silent for longer, nginx after 60 seconds; and who hears nothing for so long
# takes the way here for broken.
LONGEST_SECONDS = 20.0


class Silence:
    """How long a stream has said nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now.

        Args:
            clock: Tells the time in seconds, and never jumps.
        """
        self._clock = clock
        self._since = clock()

    @property
    def is_too_long(self) -> bool:
        """Whether something is to be said, if only what was said before."""
        return self._clock() - self._since >= LONGEST_SECONDS

    def end(self) -> None:
        """Something is said: what comes now is another silence."""
        self._since = self._clock()

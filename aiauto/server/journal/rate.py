"""How fast each caller may append: a bucket of tokens for everybody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiauto.connect import retry_info
from aiauto.errors import ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Callable

# Full buckets are forgotten when there are more than this.
REMEMBERED_BUCKETS = 10_000


class AppendRate:
    """So many entries a second, and as many at once as a burst.

    A caller that is too fast is told when to come again. The clients of this package wait until
    then by themselves, so a program that appends too fast becomes slow and does not fail.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make it, with full buckets.

        Args:
            per_second: Entries that a caller may append each second in the long run.
            burst: Entries that a caller that was silent before may append at once.
            clock: Tells the time in seconds.
        """
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        # By caller: how full the bucket was, and when.
        self._buckets: dict[int, tuple[float, float]] = {}

    def take(self, caller: int, entries: int) -> None:
        """Let a caller append, or not yet. For one event loop.

        Args:
            caller: Who: the id of the token that was shown.
            entries: How many. A call without any counts as one.

        Raises:
            ResourceExhaustedError: It would be too fast. A `google.rpc.RetryInfo` among the details
                says when it no longer is.
        """
        moment = self._clock()
        # What is too much for any bucket is let through, to be refused for what it is.
        level, wanted = self._level(caller, moment), min(max(1, entries), self._burst)
        if level < wanted:
            wait = (wanted - level) / self._per_second
            raise ResourceExhaustedError(
                f"Too many journal entries: a token may append {self._per_second:g} a second, and "
                f"{self._burst} at once after a pause. Try again in {wait:.3g} s.",
                details=[retry_info(wait)],
            )
        if len(self._buckets) >= REMEMBERED_BUCKETS:
            self._buckets = {
                one: bucket
                for one, bucket in self._buckets.items()
                if self._level(one, moment) < self._burst
            }
        self._buckets[caller] = (level - wanted, moment)

    def _level(self, caller: int, moment: float) -> float:
        level, since = self._buckets.get(caller, (self._burst, moment))
        return min(self._burst, level + (moment - since) * self._per_second)

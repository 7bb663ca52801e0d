"""Which workers have been heard of lately, and for how long they hold their leases."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class _Held:
    """A lease in a worker's hands: since when, and when it was last heard of."""

    since: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)


class Heartbeats:
    """When each lease was last heard of. Kept in memory, by a clock that never jumps.

    After a restart of the server nobody has been heard of: every lease is given its time anew.

    Attributes:
        ttl: Seconds of silence after which the holder of a lease counts as dead.
    """

    def __init__(self, ttl: float) -> None:
        """Make it.

        Args:
            ttl: Seconds of silence after which the holder of a lease counts as dead.
        """
        self.ttl = ttl
        self._leases: dict[int, _Held] = {}

    def heard(self, lease_id: int) -> None:
        """Note a sign of life."""
        self._leases.setdefault(lease_id, _Held()).heard = time.monotonic()

    def follow(self, open_leases: set[int]) -> None:
        """Look at these leases, which are all that are held, and forget any other."""
        self._leases = {one: self._leases.get(one) or _Held() for one in sorted(open_leases)}

    def silent(self) -> list[int]:
        """The leases whose holders count as dead."""
        moment = time.monotonic()
        return [one for one, held in self._leases.items() if moment - held.heard > self.ttl]

    def overdue(self, limits: dict[int, float]) -> list[int]:
        """The leases that are held for too long.

        Args:
            limits: Seconds by lease; those without one may take their time.
        """
        moment = time.monotonic()
        return [
            one
            for one, held in self._leases.items()
            if one in limits and moment - held.since > limits[one]
        ]

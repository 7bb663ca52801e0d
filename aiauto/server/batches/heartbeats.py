"""Which workers have been heard of lately."""

from __future__ import annotations

import time


class Heartbeats:
    """When each lease was last heard of. Kept in memory, by a clock that never jumps.

    After a restart of the server nobody has been heard of: every lease is given its time anew.
    """

    def __init__(self, ttl: float) -> None:
        """Make it.

        Args:
            ttl: Seconds of silence after which the holder of a lease counts as dead.
        """
        self._ttl = ttl
        self._heard: dict[int, float] = {}

    def heard(self, lease_id: int) -> None:
        """Note a sign of life."""
        self._heard[lease_id] = time.monotonic()

    def silent(self, open_leases: set[int]) -> list[int]:
        """The leases whose holders count as dead.

        Args:
            open_leases: All leases that are held. Those not heard of yet begin their time now.
        """
        moment = time.monotonic()
        self._heard = {
            lease_id: self._heard.get(lease_id, moment) for lease_id in sorted(open_leases)
        }
        return [one for one, heard in self._heard.items() if moment - heard > self._ttl]

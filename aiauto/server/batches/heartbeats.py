"""Which workers have been heard of lately, and for how long they hold their leases.

A worker that falls silent goes through two stages:

- After `Heartbeats.ttl` seconds it is *suspected*. Nothing is written yet: if it comes back, with a
  heartbeat or with its result, it is as though nothing had happened. Its trial is taken from it
  only where somebody is there to run it again at once, as `max_retries` allows.
- After `Heartbeats.grace` seconds more it is *dead*: its trial becomes FAIL, which Optuna lets
  nobody change, and what it still reports is set aside.

So the result of a worker that was suspended or cut off counts if nobody reran its trial, and a
batch waits no longer than the two together for one that never comes back. A worker whose process is
known to have ended is waited for by nobody: its lease ends with it.

Only such silence counts as the server could have heard a sound in. While it is stopped, its machine
is asleep or its database is away, no worker can be heard of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

# Whoever listens says so at least as often. What passes beyond that was not listened to.
LONGEST_GAP_SECONDS = 2.0


@dataclass
class _Held:
    """A lease in a worker's hands: since when, and when it was last heard of, as `_now` counts."""

    since: float
    heard: float


class Heartbeats:
    """When each lease was last heard of. Kept in memory, in seconds of listening.

    After a restart of the server nobody has been heard of: every lease is given its time anew. A
    worker may speak to any of several servers on one database: each of them writes down now and
    then whom it has heard of (`take_heard`), and looks at what the others wrote (`follow`). No
    clocks are compared: what others wrote counts from when it is found to have changed.

    Attributes:
        ttl: Seconds of silence after which the holder of a lease is suspected to be dead.
        grace: Seconds more after which it counts as dead.
    """

    def __init__(
        self, ttl: float, grace: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make it.

        Args:
            ttl: Seconds of silence after which the holder of a lease is suspected to be dead.
            grace: Seconds more after which it counts as dead.
            clock: Tells the time in seconds, and never jumps.
        """
        self.ttl = ttl
        self.grace = grace
        self._clock = clock
        self._leases: dict[int, _Held] = {}
        # The leases that were heard of here, and not written down yet.
        self._heard: set[int] = set()
        # What was written down last, by lease.
        self._written: dict[int, datetime] = {}
        # Seconds of listening, up to the moment when that was last said.
        self._listened = 0.0
        self._said_at = clock()

    def listen(self) -> None:
        """Say that the server hears its workers at this moment: to be called again and again."""
        self._listened, self._said_at = self._now(), self._clock()

    def heard(self, lease_id: int) -> None:
        """Note a sign of life."""
        self._hear(lease_id)
        self._heard.add(lease_id)

    def take_heard(self, moment: datetime) -> list[int]:
        """The leases that were heard of since the last time, to be written down with this time."""
        heard = sorted(self._heard & self._leases.keys())
        self._heard = set()
        self._written.update(dict.fromkeys(heard, moment))
        return heard

    def follow(self, open_leases: Mapping[int, datetime | None]) -> None:
        """Look at these leases, which are all that are held, and forget any other.

        Args:
            open_leases: When any server wrote last that it had heard of them.
        """
        moment = self._now()
        self._leases = {
            one: self._leases.get(one) or _Held(moment, moment) for one in sorted(open_leases)
        }
        self._heard &= self._leases.keys()
        for lease_id, written in open_leases.items():
            if written is not None and written != self._written.get(lease_id, written):
                self._hear(lease_id)
        self._written = {one: written for one, written in open_leases.items() if written}

    def is_suspected(self, lease_id: int) -> bool:
        """Whether the holder of a lease has been silent for too long."""
        return self._silence(lease_id) > self.ttl

    def is_dead(self, lease_id: int) -> bool:
        """Whether the holder of a lease has been silent for so long that nobody waits for it."""
        return self._silence(lease_id) > self.ttl + self.grace

    def dead(self) -> list[int]:
        """The leases whose holders count as dead."""
        return [one for one in self._leases if self.is_dead(one)]

    def overdue(self, limits: dict[int, float]) -> list[int]:
        """The leases that are held for too long.

        Args:
            limits: Seconds by lease; those without one may take their time.
        """
        moment = self._now()
        return [
            one
            for one, held in self._leases.items()
            if one in limits and moment - held.since > limits[one]
        ]

    def _hear(self, lease_id: int) -> None:
        moment = self._now()
        self._leases.setdefault(lease_id, _Held(moment, moment)).heard = moment

    def _silence(self, lease_id: int) -> float:
        held = self._leases.get(lease_id)
        return 0.0 if held is None else self._now() - held.heard

    def _now(self) -> float:
        return self._listened + min(self._clock() - self._said_at, LONGEST_GAP_SECONDS)

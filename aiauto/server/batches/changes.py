"""Tells those who watch batches that something about them has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from aiauto.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection

BEGUN: Final = 0
"""Stands among the ids of batches for those that are still to begin: none has this one."""


class Changes:
    """Counts the changes of every batch, and wakes who waits for the next. For one event loop."""

    def __init__(self) -> None:
        self._versions: defaultdict[int, int] = defaultdict(int)
        self._waiters: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    def versions(self, batch_ids: Collection[int]) -> list[int]:
        """How often each of some batches has changed."""
        return [self._versions[batch_id] for batch_id in batch_ids]

    def announce(self, batch_id: int) -> None:
        """Say that a batch has changed."""
        self._versions[batch_id] += 1
        for event in self._waiters.pop(batch_id, ()):
            event.set()

    def forget(self, batch_id: int) -> None:
        """Wake who waits for a batch that is gone."""
        self.announce(batch_id)
        self._versions.pop(batch_id, None)

    async def wait(self, batch_ids: Collection[int], seen: list[int], timeout: float) -> None:
        """Wait for a change of any of some batches.

        Args:
            batch_ids: The batches.
            seen: The versions that the caller knows.
            timeout: Seconds after which to return without a change.

        Raises:
            UnavailableError: The server is stopping.
        """
        if not self._closed and self.versions(batch_ids) == seen:
            event = asyncio.Event()
            for batch_id in batch_ids:
                self._waiters[batch_id].add(event)
            try:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(event.wait(), timeout)
            finally:
                self._leave(batch_ids, event)
        if self._closed:
            raise UnavailableError("The server is stopping. The batch goes on when it is back.")

    def close(self) -> None:
        """End all waiting: the server is stopping."""
        self._closed = True
        for batch_id in list(self._waiters):
            self.announce(batch_id)

    def _leave(self, batch_ids: Collection[int], event: asyncio.Event) -> None:
        for batch_id in batch_ids:
            waiters = self._waiters.get(batch_id)
            if waiters is not None:
                waiters.discard(event)
                if not waiters:
                    del self._waiters[batch_id]

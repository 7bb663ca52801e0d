"""Tells those who watch a batch that something about it has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

from aiauto.errors import UnavailableError


class Changes:
    """Counts the changes of every batch, and wakes who waits for the next. For one event loop."""

    def __init__(self) -> None:
        self._versions: defaultdict[int, int] = defaultdict(int)
        self._waiters: dict[int, asyncio.Event] = {}
        self._closed = False

    def version(self, batch_id: int) -> int:
        """How often a batch has changed."""
        return self._versions[batch_id]

    def announce(self, batch_id: int) -> None:
        """Say that a batch has changed."""
        self._versions[batch_id] += 1
        if (event := self._waiters.pop(batch_id, None)) is not None:
            event.set()

    def forget(self, batch_id: int) -> None:
        """Wake who waits for a batch that is gone."""
        self.announce(batch_id)
        self._versions.pop(batch_id, None)

    async def wait(self, batch_id: int, seen: int, timeout: float) -> None:
        """Wait for a change.

        Args:
            batch_id: The batch.
            seen: The version that the caller knows.
            timeout: Seconds after which to return without a change.

        Raises:
            UnavailableError: The server is stopping.
        """
        if not self._closed and self._versions[batch_id] == seen:
            event = self._waiters.setdefault(batch_id, asyncio.Event())
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(event.wait(), timeout)
        if self._closed:
            raise UnavailableError("The server is stopping. The batch goes on when it is back.")

    def close(self) -> None:
        """End all waiting: the server is stopping."""
        self._closed = True
        for event in self._waiters.values():
            event.set()
        self._waiters.clear()

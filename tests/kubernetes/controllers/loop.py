"""How a controller lives: it looks whenever something changed, or when it said it would."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.kubernetes.api.store import Store


class Controller(Protocol):
    """Brings the objects nearer to what they ask for."""

    def sync(self) -> float | None:
        """Look at everything, and do what is to be done at once.

        Returns:
            Seconds until it must look again though nothing changes; None for never.
        """
        ...


async def run(store: Store, controller: Controller) -> None:
    """Let a controller look after each change."""
    while True:
        seen = store.revision
        wait = controller.sync()
        # What it changed itself it may want to see at once: others have their turn first.
        await asyncio.sleep(0)
        await store.changed(seen, wait)


class Alarms:
    """Times at which something is due."""

    def __init__(self) -> None:
        self._due: list[float] = []

    def after(self, seconds: float) -> None:
        """Something is due then."""
        self._due.append(time.monotonic() + seconds)

    def next(self) -> float | None:
        """Seconds until the first; all are forgotten."""
        if not self._due:
            return None
        first = min(self._due)
        self._due.clear()
        # A little later, so that what is due is so by every clock.
        return max(first - time.monotonic(), 0) + 0.002

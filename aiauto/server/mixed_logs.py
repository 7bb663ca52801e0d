"""The lines of several batches, mixed as they were printed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiauto.server.worker_logs import WorkerLogs

# After every RFC 3339 time.
NEVER = "~"


@dataclass
class BatchLines:
    """The lines of one batch that have not been given out.

    Attributes:
        id: Of the batch.
        name: Its name.
        begun: RFC 3339 time at which it was made: nothing was printed before.
        after: Number of the last line that has been read.
        is_silent: Whether nothing more will be printed.
        lines: Those that have been read.
    """

    id: int
    name: str
    begun: str
    after: int
    is_silent: bool = False
    lines: deque[v1.LogLine] = field(default_factory=deque[v1.LogLine])


class MixedLogs:
    """Reads the lines of batches side by side, each batch's in its own order.

    A batch is read from only where the others have come to its beginning, so that a study with a
    long history needs no more memory than one with a short one.
    """

    def __init__(self, logs: WorkerLogs) -> None:
        """Make it.

        Args:
            logs: What workers printed.
        """
        self._logs = logs
        # Those that may have lines, the oldest first.
        self.batches: list[BatchLines] = []

    def add(self, batches: Iterable[BatchLines]) -> None:
        """Read these batches too."""
        self.batches.extend(batches)
        self.batches.sort(key=lambda batch: batch.begun)

    async def read(self) -> list[v1.LogLine]:
        """The next lines, not necessarily all that there are; none where there are none."""
        first = limit = NEVER
        filled: list[BatchLines] = []
        for batch in list(self.batches):
            if batch.begun > first:
                limit = batch.begun
                break
            if not batch.lines and not await self._fill(batch):
                if batch.is_silent:
                    self.batches.remove(batch)
                continue
            filled.append(batch)
            first = min(first, batch.lines[0].time)
        mixed: list[v1.LogLine] = []
        # Until the one that is next has to be read from again.
        while filled and all(batch.lines for batch in filled):
            batch = min(filled, key=lambda one: one.lines[0].time)
            if batch.lines[0].time >= limit:
                break
            mixed.append(batch.lines.popleft())
        return mixed

    async def _fill(self, batch: BatchLines) -> bool:
        for line in await self._logs.read(batch.id, batch.after):
            line.trialbatch_name = batch.name
            batch.after = line.sequence
            batch.lines.append(line)
        return bool(batch.lines)

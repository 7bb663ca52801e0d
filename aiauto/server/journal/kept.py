"""What is kept in memory of workspaces, for as long as somebody asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ValueT = TypeVar("ValueT")


class Kept(Generic[ValueT]):
    """Things by the workspace that they are of. All of them can be made anew.

    May be used from several threads, as a dictionary may.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep nothing yet.

        Args:
            clock: Tells the time in seconds, and never jumps.
        """
        self._clock = clock
        self._kept: dict[int, tuple[ValueT, float]] = {}

    def get(self, workspace_id: int) -> ValueT | None:
        """What is kept of a workspace; None where nothing is."""
        if (found := self._kept.get(workspace_id)) is None:
            return None
        value, _ = found
        self.put(workspace_id, value)
        return value

    def put(self, workspace_id: int, value: ValueT) -> None:
        """Keep this of a workspace."""
        self._kept[workspace_id] = value, self._clock()

    def pop(self, workspace_id: int) -> ValueT | None:
        """Let go of what is kept of a workspace, and give it back; None where nothing is."""
        found = self._kept.pop(workspace_id, None)
        return None if found is None else found[0]

    def drop_unused(self, seconds: float) -> None:
        """Let go of what nobody has asked for in so many seconds."""
        since = self._clock() - seconds
        for workspace_id, (_, used_at) in list(self._kept.items()):
            if used_at < since:
                self._kept.pop(workspace_id, None)

"""Overviews of journals, kept in step with what is committed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from aiauto.server.journal import rows
from aiauto.server.journal.overview import Overview
from aiauto.server.wholeness import begin

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal.overview import StudyOverview

# The first look at a long journal takes minutes: so often it gives back its thread, its connection
# and what the database keeps for it, and is in nobody's way.
CHARACTERS_AT_ONCE = 4 * 1024 * 1024


class Overviews:
    """The overviews of all workspaces.

    A ledger can be asked only by who may write, and waits for whoever writes at the time. These
    read what is committed, by whichever server, and keep nobody from writing.
    """

    def __init__(self, database: Database) -> None:
        """Make it.

        Args:
            database: Where the journals are kept.
        """
        self._database = database
        self._overviews: dict[int, Overview] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: dict[int, asyncio.Task[dict[int, StudyOverview]]] = {}

    async def read(self, workspace_id: int) -> dict[int, StudyOverview]:
        """The studies of a workspace by their id, with all that was committed before this call.

        Args:
            workspace_id: The workspace.

        Raises:
            NotFoundError: It is gone.
        """
        # All that come while somebody looks share the next look.
        if workspace_id not in self._next:
            self._next[workspace_id] = begin(self._look(workspace_id))
        return await asyncio.shield(self._next[workspace_id])

    def forget(self, workspace_id: int) -> None:
        """Let go of a workspace that was deleted."""
        self._overviews.pop(workspace_id, None)

    async def _look(self, workspace_id: int) -> dict[int, StudyOverview]:
        async with self._locks[workspace_id]:
            # Who comes from here on may know of something that is committed too late for this look.
            del self._next[workspace_id]
            found = None
            while found is None:
                found = await asyncio.to_thread(
                    self._database.read_now, lambda session: self._follow(session, workspace_id)
                )
            return found

    def _follow(self, session: Session, workspace_id: int) -> dict[int, StudyOverview] | None:
        """Go on in a journal. What is given back at its end is what is there."""
        length = rows.length(session, workspace_id)
        overview = self._overviews.get(workspace_id)
        if overview is None or overview.length > length:
            # None yet, or it is of another database: one was restored in its place.
            overview = self._overviews[workspace_id] = Overview()
        characters = 0
        for texts in rows.read(session, workspace_id, overview.length):
            if characters > CHARACTERS_AT_ONCE:
                return None
            overview.extend(texts)
            characters += sum(map(len, texts))
        return overview.studies()

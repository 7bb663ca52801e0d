"""Overviews of journals, kept in step with what is committed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from aiauto.server.journal import rows
from aiauto.server.journal.kept import Kept
from aiauto.server.journal.overview import Overview
from aiauto.server.wholeness import begin

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal.overview import StudyOverview


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
        self._overviews: Kept[Overview] = Kept()
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
        self._overviews.pop(workspace_id)

    def drop_unused(self, seconds: float) -> None:
        """Let go of those that nobody has asked for in so many seconds."""
        self._overviews.drop_unused(seconds)

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
            overview = Overview()
            self._overviews.put(workspace_id, overview)
        texts, is_all = rows.part(session, workspace_id, overview.length)
        overview.extend(texts)
        return overview.studies() if is_all else None

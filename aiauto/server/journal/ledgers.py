"""The ledgers of all workspaces, kept in step with their journals.

A journal is long where a workspace is old, and a server that has just been started knows none of
it. What little is missing is read by the unit that needs it; more of it beside all units, which
would have to wait otherwise.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from aiauto.errors import UnavailableError
from aiauto.server.database import PostponedError, when_undone
from aiauto.server.database.unit import familiar, of_unit
from aiauto.server.journal import rows
from aiauto.server.journal.kept import Kept
from aiauto.server.journal.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from aiauto.server.database import Database

# Entries that a unit reads by itself: some ten milliseconds.
ENTRIES_IN_UNIT = 1000
ENTRIES_AT_ONCE = 100
FOLLOWERS = 2


class Ledgers:
    """The ledgers of all workspaces. Only for units of `Database.write`."""

    def __init__(self, database: Database) -> None:
        """Make it.

        Args:
            database: Where the journals are kept.
        """
        self._database = database
        self._ledgers: Kept[Ledger] = Kept()
        # Those that are brought up to date at the moment: nobody else may touch them.
        self._following: dict[int, Future[None]] = {}
        self._followers = ThreadPoolExecutor(FOLLOWERS, thread_name_prefix="aiauto-journal-follow")
        self._closed = False

    def get(self, session: Session, workspace_id: int) -> Ledger:
        """The ledger of a workspace, which nobody else appends to until the unit ends.

        Args:
            session: The unit's session.
            workspace_id: The workspace.

        Raises:
            NotFoundError: The workspace is gone.
            PostponedError: There is much to be read before.
        """
        locked = of_unit(session, Ledger)
        if (known := locked.get(workspace_id)) is not None:
            return known
        ledger = self._ledgers.get(workspace_id)
        if ledger is not None and familiar(session).get(Ledger, workspace_id) is ledger:
            locked[workspace_id] = ledger
            return ledger
        # Locked until the unit ends: another server on the same database may append as well.
        length = rows.length(session, workspace_id, lock=True)
        if workspace_id in self._following:
            if not self._following[workspace_id].done():
                raise PostponedError(self._following[workspace_id])
            del self._following[workspace_id]
        if ledger is None or ledger.length > length:
            # None yet, or it is of another database: one was restored in its place.
            ledger = Ledger()
            self._ledgers.put(workspace_id, ledger)
        if length - ledger.length > ENTRIES_IN_UNIT:
            raise PostponedError(self._begin_to_follow(ledger, workspace_id))
        if ledger.length < length:
            for texts in rows.read(session, workspace_id, ledger.length):
                _extend(ledger, texts)
        locked[workspace_id] = ledger
        familiar(session).put(Ledger, workspace_id, ledger)
        return ledger

    def remove(self, session: Session, workspace_id: int) -> None:
        """Forget a workspace that is being deleted."""
        of_unit(session, Ledger).pop(workspace_id, None)
        familiar(session).forget(Ledger, workspace_id)
        if (ledger := self._ledgers.pop(workspace_id)) is not None:
            when_undone(session, lambda: self._ledgers.put(workspace_id, ledger))

    def drop_unused(self, seconds: float) -> None:
        """Let go of those that nobody has asked for in so many seconds. From any thread."""
        # A unit that has one keeps it to its end, and the next reads what that has committed.
        self._ledgers.drop_unused(seconds)

    def close(self) -> None:
        """Read no further."""
        self._closed = True
        self._followers.shutdown(wait=False)

    def _begin_to_follow(self, ledger: Ledger, workspace_id: int) -> Future[None]:
        self._check_open()
        following = self._followers.submit(self._follow, ledger, workspace_id)
        self._following[workspace_id] = following
        return following

    def _follow(self, ledger: Ledger, workspace_id: int) -> None:
        """Take what is committed."""
        while not self._database.read_now(partial(self._take, ledger, workspace_id)):
            self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("The server is being stopped: try again in a moment.")

    @staticmethod
    def _take(ledger: Ledger, workspace_id: int, session: Session) -> bool:
        """Take a part of it, and tell whether that was the last."""
        texts, is_all = rows.part(session, workspace_id, ledger.length)
        _extend(ledger, texts)
        return is_all


def _extend(ledger: Ledger, texts: Sequence[str]) -> None:
    # A few at a time: how to take them back is kept until the next come, and nobody will.
    for start in range(0, len(texts), ENTRIES_AT_ONCE):
        some = texts[start : start + ENTRIES_AT_ONCE]
        ledger.extend([(json.loads(text), text) for text in some])

"""Lets go of what is kept in memory of workspaces that nobody uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto.server.regularly import regularly

if TYPE_CHECKING:
    from aiauto.server.journal.journal import Journal
    from aiauto.server.journal.overviews import Overviews

UNUSED_SECONDS = 3600.0
INTERVAL_SECONDS = 600.0


async def let_go(journal: Journal, overviews: Overviews) -> None:
    """Do so for as long as the server runs. Whoever comes back waits until it is read again."""

    async def look() -> None:
        journal.drop_unused(UNUSED_SECONDS)
        overviews.drop_unused(UNUSED_SECONDS)

    await regularly(look, INTERVAL_SECONDS, "What nobody uses is kept in memory")

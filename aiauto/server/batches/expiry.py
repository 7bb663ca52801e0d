"""The end of what takes too long: silent workers, overdue trials, batches whose time is up."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.server.batches import leases, stopping
from aiauto.server.batches.leases import Reason
from aiauto.server.batches.stopping import StopReason
from aiauto.server.database.models import Lease, TrialBatch, now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.batches.changes import Changes
    from aiauto.server.batches.heartbeats import Heartbeats
    from aiauto.server.database import Database
    from aiauto.server.journal import Journal

logger: logging.Logger = logging.getLogger("aiauto.server")

INTERVAL_SECONDS = 1.0


class Expiry:
    """Looks at leases and batches once a second."""

    def __init__(
        self, database: Database, journal: Journal, heartbeats: Heartbeats, changes: Changes
    ) -> None:
        """Make it.

        Args:
            database: Where batches are kept.
            journal: The journals that their trials live in.
            heartbeats: When leases were last heard of.
            changes: Whom to tell.
        """
        self._database = database
        self._journal = journal
        self._heartbeats = heartbeats
        self._changes = changes

    async def run(self) -> None:
        """End what has taken too long, for as long as the server runs."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.leases()
                await self.batches()
            except Exception:
                # The database may be away for a while; it is asked again in a second.
                logger.exception("Leases could not be looked at")

    async def leases(self) -> None:
        """Fail the leases of workers that count as dead, and those that are held too long."""

        def held(session: Session) -> dict[int, float | None]:
            query = (
                select(Lease.id, TrialBatch.trial_timeout)
                .join(TrialBatch, TrialBatch.id == Lease.batch_id)
                .where(Lease.state == leases.LEASED)
            )
            return {lease_id: limit for lease_id, limit in session.execute(query)}  # noqa: C416 - rows

        limits = await self._database.read(held)
        self._heartbeats.follow(set(limits))
        late = self._heartbeats.overdue({one: limit for one, limit in limits.items() if limit})
        dead = self._heartbeats.dead()
        if not late and not dead:
            return

        def unit(session: Session) -> set[int]:
            message = "The trial took longer than trial_timeout allows."
            expired = leases.held(session, Lease.id.in_(late))
            for lease in expired:
                leases.fail(session, self._journal, lease, Reason.TIMEOUT, message)
            moved = {lease.batch_id for lease in expired}
            patience = self._heartbeats.ttl + self._heartbeats.grace
            message = f"The worker has not been heard of for {patience:g} s and counts as dead."
            expired = leases.held(session, Lease.id.in_(dead))
            # One may have been heard of since.
            expired = [lease for lease in expired if self._heartbeats.is_dead(lease.id)]
            for lease in expired:
                leases.fail(session, self._journal, lease, Reason.LOST, message)
            return moved | {lease.batch_id for lease in expired}

        for batch_id in await self._database.write(unit):
            self._changes.announce(batch_id)

    async def batches(self) -> None:
        """Let no further trial begin in batches whose time is up."""
        due = select(TrialBatch).where(
            TrialBatch.finished_at.is_(None),
            TrialBatch.stop_reason == "",
            TrialBatch.deadline_at <= now(),
        )

        def unit(session: Session) -> list[int]:
            batches = session.scalars(due).all()
            for batch in batches:
                stopping.stop(session, self._journal, batch, StopReason.TIMEOUT)
            return [batch.id for batch in batches]

        if await self._database.read(lambda session: session.scalar(due) is not None):
            for batch_id in await self._database.write(unit):
                self._changes.announce(batch_id)

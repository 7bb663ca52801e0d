"""The end of what takes too long: silent workers, overdue trials, batches whose time is up."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from aiauto.server.batches import leases, stopping
from aiauto.server.batches.leases import Reason
from aiauto.server.batches.stopping import StopReason
from aiauto.server.database.models import Lease, TrialBatch, now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from aiauto.server.batches.changes import Changes
    from aiauto.server.batches.heartbeats import Heartbeats
    from aiauto.server.database import Database
    from aiauto.server.journal import Journal

logger: logging.Logger = logging.getLogger("aiauto.server")

INTERVAL_SECONDS = 1.0
# Well within the time after which silence counts.
WRITINGS_PER_TTL = 6


class Expiry:
    """Looks at leases and batches once a second."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        heartbeats: Heartbeats,
        changes: Changes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            database: Where batches are kept.
            journal: The journals that their trials live in.
            heartbeats: When leases were last heard of.
            changes: Whom to tell.
            clock: Tells the time in seconds, and never jumps.
        """
        self._database = database
        self._journal = journal
        self._heartbeats = heartbeats
        self._changes = changes
        self._clock = clock
        # By batch, on this clock: the machine's may be set while a batch runs.
        self._deadlines: dict[int, float] = {}
        # The same of new ones, until they are looked at.
        self._noted: dict[int, float] = {}
        # When other servers are told next whom this one has heard of.
        self._next_writing = 0.0

    def note(self, batch_id: int, seconds: float) -> None:
        """A batch has been made whose time is up after so many seconds."""
        self._noted[batch_id] = self._clock() + seconds

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

        def held(session: Session) -> Sequence[tuple[int, float | None, datetime | None]]:
            query = (
                select(Lease.id, TrialBatch.trial_timeout, Lease.heard_at)
                .join(TrialBatch, TrialBatch.id == Lease.batch_id)
                .where(Lease.state == leases.LEASED)
            )
            return [(lease_id, limit, moment) for lease_id, limit, moment in session.execute(query)]

        found = await self._database.read(held)
        # It answers, and so do heartbeats.
        self._heartbeats.listen()
        self._heartbeats.follow({lease_id: heard_at for lease_id, _, heard_at in found})
        await self._write_down_heard()
        late = self._heartbeats.overdue({lease_id: limit for lease_id, limit, _ in found if limit})
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

    async def _write_down_heard(self) -> None:
        """Let other servers on the same database know who was heard of here."""
        if not self._database.is_shared or self._clock() < self._next_writing:
            return
        self._next_writing = self._clock() + self._heartbeats.ttl / WRITINGS_PER_TTL
        moment = now()
        if heard := self._heartbeats.take_heard(moment):
            statement = update(Lease).where(Lease.id.in_(heard), Lease.state == leases.LEASED)
            await self._database.write(
                lambda session: session.execute(statement.values(heard_at=moment))
            )

    async def batches(self) -> None:
        """Let no further trial begin in batches whose time is up."""

        def limited(session: Session) -> dict[int, datetime]:
            query = select(TrialBatch.id, TrialBatch.deadline_at).where(
                TrialBatch.finished_at.is_(None),
                TrialBatch.stop_reason == "",
                TrialBatch.deadline_at.is_not(None),
            )
            return {batch_id: end for batch_id, end in session.execute(query) if end is not None}

        noted = set(self._noted)
        ends = await self._database.read(limited)
        moment = self._clock()
        known = {**self._noted, **self._deadlines}
        self._deadlines = {
            batch_id: known.get(batch_id, moment + (end - now()).total_seconds())
            for batch_id, end in ends.items()
        }
        # Those that are not among the ends have ended.
        for batch_id in noted:
            del self._noted[batch_id]
        due = [batch_id for batch_id, end in self._deadlines.items() if end <= moment]
        if not due:
            return

        def unit(session: Session) -> list[int]:
            batches = session.scalars(select(TrialBatch).where(TrialBatch.id.in_(due))).all()
            for batch in batches:
                stopping.stop(session, self._journal, batch, StopReason.TIMEOUT)
            return [batch.id for batch in batches]

        for batch_id in await self._database.write(unit):
            self._changes.announce(batch_id)

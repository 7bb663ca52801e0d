"""LogService: what workers printed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import LogServiceBase
from sqlalchemy import exists, select

from aiauto.server.batches.leases import LEASED
from aiauto.server.batches.workers import ENDED
from aiauto.server.database.models import Lease, TrialBatch, Worker, now
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import batch_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

    from aiauto.server.parts import Parts
    from aiauto.server.worker_logs import WorkerLogs

LONGEST_INTERVAL_SECONDS = 5.0
# Workers send what was printed a moment later, the last lines of a batch when they end; one that
# does not end is not waited for.
LAST_LINES_OF_TRIAL_SECONDS = 2.0
LAST_LINES_OF_BATCH_SECONDS = 20.0


class LogService(Calls, LogServiceBase):
    """Streams what workers printed."""

    def __init__(self, parts: Parts, logs: WorkerLogs) -> None:
        """Answer users.

        Args:
            parts: What to work with.
            logs: What workers printed.
        """
        super().__init__(parts)
        self._logs = logs

    async def stream_logs(
        self, request: v1.StreamLogsRequest, context: Context
    ) -> AsyncIterator[v1.StreamLogsResponse]:
        """Stream lines, oldest first."""
        del context
        user_id = self._user_id
        changes = self._parts.batches.changes
        batch_id = await self._parts.database.read(
            lambda session: batch_of(session, user_id, request.trialbatch_name).id
        )
        after = request.after
        while True:
            seen = changes.version(batch_id)
            # Asked before the lines are read: what is printed before the end is read after it.
            over = not request.follow or await self._is_silent(batch_id, request.trial_number)
            while lines := await self._logs.read(batch_id, after):
                after = lines[-1].sequence
                wanted = [
                    line for line in lines if request.trial_number in {None, line.trial_number}
                ]
                if wanted:
                    yield v1.StreamLogsResponse(lines=wanted)
            if over:
                return
            # Nobody announces that some time has passed since an end.
            longest = LONGEST_INTERVAL_SECONDS if request.trial_number is None else 1.0
            await changes.wait(batch_id, seen, longest)

    async def _is_silent(self, batch_id: int, trial_number: int | None) -> bool:
        """Whether there will be no further line of a batch, or of one trial of it."""

        def unit(session: Session) -> bool:
            batch = session.get(TrialBatch, batch_id)
            if batch is None or _is_past(batch.finished_at, LAST_LINES_OF_BATCH_SECONDS):
                return True
            if trial_number is not None:
                leases = (
                    select(Lease)
                    .join(TrialBatch, TrialBatch.id == Lease.batch_id)
                    .where(
                        TrialBatch.study_id == batch.study_id, Lease.trial_number == trial_number
                    )
                )
                lease = session.scalar(leases)
                if lease is not None:
                    return lease.batch_id != batch_id or (
                        lease.state != LEASED
                        and _is_past(lease.ended_at, LAST_LINES_OF_TRIAL_SECONDS)
                    )
            living = exists().where(Worker.batch_id == batch_id, Worker.phase.not_in(ENDED))
            return batch.is_over and not session.scalar(select(living))

        return await self._parts.database.read(unit)


def _is_past(moment: datetime | None, seconds: float) -> bool:
    return moment is not None and moment < now() - timedelta(seconds=seconds)

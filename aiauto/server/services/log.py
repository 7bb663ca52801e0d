"""LogService: what workers printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import LogServiceBase

from aiauto.server.database.models import TrialBatch
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import batch_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto_gen.connect import Context

    from aiauto.server.parts import Parts
    from aiauto.server.worker_logs import WorkerLogs

LONGEST_INTERVAL_SECONDS = 5.0


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
            over = await self._is_over(batch_id)
            while lines := await self._logs.read(batch_id, after):
                after = lines[-1].sequence
                wanted = [
                    line for line in lines if request.trial_number in {None, line.trial_number}
                ]
                if wanted:
                    yield v1.StreamLogsResponse(lines=wanted)
            if over or not request.follow:
                return
            await changes.wait(batch_id, seen, LONGEST_INTERVAL_SECONDS)

    async def _is_over(self, batch_id: int) -> bool:
        batch = await self._parts.database.read(lambda session: session.get(TrialBatch, batch_id))
        return batch is None or batch.is_over

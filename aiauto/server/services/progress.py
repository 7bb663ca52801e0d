"""ProgressService: how batches advance."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import ProgressServiceBase

from aiauto.errors import NotFoundError
from aiauto.server.database.models import Study, TrialBatch
from aiauto.server.messages import batch_status, trial_info
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import batch_of
from aiauto.server.services.silence import Silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

# However fast trials end, nobody reads more than this.
SHORTEST_INTERVAL_SECONDS = 0.2
# A change that was made by another server on the same database is seen after so long at most.
LONGEST_INTERVAL_SECONDS = 5.0


class ProgressService(Calls, ProgressServiceBase):
    """Streams how batches advance."""

    async def watch_trial_batch(
        self, request: v1.WatchTrialBatchRequest, context: Context
    ) -> AsyncIterator[v1.WatchTrialBatchResponse]:
        """Tell where a batch stands, now, on every change and now and then, until it is over."""
        del context
        user_id = self._user_id
        changes = self._parts.batches.changes
        batch_id = await self._parts.database.read(
            lambda session: batch_of(session, user_id, request.trialbatch_name).id
        )
        told: v1.WatchTrialBatchResponse | None = None
        silence = Silence()
        while True:
            seen = changes.versions([batch_id])
            status, over = await self._status(batch_id)
            if status != told or silence.is_too_long:
                yield status
                told = status
                silence.end()
            if over:
                return
            await asyncio.sleep(SHORTEST_INTERVAL_SECONDS)
            await changes.wait([batch_id], seen, LONGEST_INTERVAL_SECONDS)

    async def _status(self, batch_id: int) -> tuple[v1.WatchTrialBatchResponse, bool]:
        def unit(session: Session) -> tuple[TrialBatch, Study]:
            batch = session.get(TrialBatch, batch_id)
            if batch is None:
                raise NotFoundError("The batch was deleted.")
            return batch, session.get_one(Study, batch.study_id)

        batch, study = await self._parts.database.read(unit)
        response = v1.WatchTrialBatchResponse(status=batch_status(batch))
        overviews = await self._parts.overviews.read(study.workspace_id)
        if (overview := overviews.get(study.optuna_study_id)) is not None:
            best = overview.best_trial
            response.best_trial = None if best is None else trial_info(best)
            response.best_values = overview.best_values
        return response, batch.is_over

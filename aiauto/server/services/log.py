"""LogService: what workers printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import LogServiceBase
from sqlalchemy import exists, select

from aiauto.errors import InvalidArgumentError
from aiauto.server.batches.changes import BEGUN
from aiauto.server.batches.leases import LEASED
from aiauto.server.batches.workers import ENDED
from aiauto.server.database.models import Lease, TrialBatch, Worker, now
from aiauto.server.messages import rfc3339
from aiauto.server.mixed_logs import BatchLines, MixedLogs
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import batch_of, study_of
from aiauto.server.services.silence import Silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

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

    def __init__(
        self, parts: Parts, logs: WorkerLogs, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Answer users.

        Args:
            parts: What to work with.
            logs: What workers printed.
            clock: Tells the time in seconds, and never jumps.
        """
        super().__init__(parts)
        self._logs = logs
        self._clock = clock

    async def stream_logs(
        self, request: v1.StreamLogsRequest, context: Context
    ) -> AsyncIterator[v1.StreamLogsResponse]:
        """Stream lines, oldest first; now and then none, where none are printed."""
        del context
        changes = self._parts.batches.changes
        wanted = _Wanted(request, self._user_id)
        trial_number = request.trial_number
        mixed = MixedLogs(self._logs)
        ends = Ends(self._clock)
        silence = Silence(self._clock)
        # Those that may go on to print.
        loud: list[BatchLines] = []
        while True:
            watched = [*(batch.id for batch in loud), BEGUN]
            seen = changes.versions(watched)
            new = await self._parts.database.read(wanted.new)
            mixed.add(new)
            loud += new
            # Asked before the lines are read: what is printed before the end is read after it.
            for batch in loud:
                batch.is_silent = not request.follow or await self._is_silent(
                    batch.id, trial_number, ends
                )
            loud = [batch for batch in loud if not batch.is_silent]
            while lines := await mixed.read():
                lines = [line for line in lines if trial_number in {None, line.trial_number}]
                if lines:
                    yield v1.StreamLogsResponse(lines=lines)
                    silence.end()
            if not loud:
                return
            if silence.is_too_long:
                yield v1.StreamLogsResponse()
                silence.end()
            if new:
                continue  # their changes have not been watched yet
            # Nobody announces that some time has passed since an end.
            longest = LONGEST_INTERVAL_SECONDS if trial_number is None else 1.0
            await changes.wait(watched, seen, longest)

    async def _is_silent(self, batch_id: int, trial_number: int | None, ends: Ends) -> bool:
        def unit(session: Session) -> bool:
            batch = session.get(TrialBatch, batch_id)
            if batch is None or ends.are_past(
                ("batch", batch_id), batch.finished_at, LAST_LINES_OF_BATCH_SECONDS
            ):
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
                ended_at = None if lease is None or lease.state == LEASED else lease.ended_at
                is_past = ends.are_past(
                    ("trial", trial_number), ended_at, LAST_LINES_OF_TRIAL_SECONDS
                )
                if lease is not None:
                    return lease.batch_id != batch_id or is_past
            living = exists().where(Worker.batch_id == batch_id, Worker.phase.not_in(ENDED))
            return batch.is_over and not session.scalar(select(living))

        return await self._parts.database.read(unit)


class _Wanted:
    """The batches that a caller wants the lines of."""

    def __init__(self, request: v1.StreamLogsRequest, user_id: int) -> None:
        if bool(request.study_name) == bool(request.trialbatch_name):
            raise InvalidArgumentError("study_name, trialbatch_name: name the one or the other.")
        self._request = request
        self._user_id = user_id
        self._study_id: int | None = None
        self._newest = 0

    def new(self, session: Session) -> list[BatchLines]:
        """Those that were not there the last time.

        Raises:
            NotFoundError: The caller has no such batch, or no such study.
        """
        batches = self._batches(session)
        self._newest = max([self._newest, *(batch.id for batch in batches)])
        after = self._request.after_of_batches
        return [
            BatchLines(
                batch.id,
                batch.name,
                rfc3339(batch.created_at),
                after.get(batch.name, 0) if self._request.study_name else self._request.after,
            )
            for batch in batches
        ]

    def _batches(self, session: Session) -> Sequence[TrialBatch]:
        if self._request.trialbatch_name:
            if self._newest:
                return []
            return [batch_of(session, self._user_id, self._request.trialbatch_name)]
        if self._study_id is None:
            self._study_id = study_of(session, self._user_id, self._request.study_name).id
        query = select(TrialBatch).where(
            TrialBatch.study_id == self._study_id, TrialBatch.id > self._newest
        )
        return session.scalars(query.order_by(TrialBatch.id)).all()


class Ends:
    """How long ago batches and trials have ended, as one stream has come to know of it.

    The times of their ends are those of the machine's clock, which may be set meanwhile. So they
    are asked for once, and not at all where the stream has seen what has ended while it ran.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Know of none.

        Args:
            clock: Tells the time in seconds, and never jumps.
        """
        self._clock = clock
        self._running: set[tuple[str, int]] = set()
        self._seen: dict[tuple[str, int], float] = {}

    def are_past(self, what: tuple[str, int], ended_at: datetime | None, seconds: float) -> bool:
        """Whether an end is longer ago than so many seconds.

        Args:
            what: What has ended or will: a kind, and its number.
            ended_at: When it did, by the machine's clock; None where it runs.
            seconds: So many.
        """
        if ended_at is None:
            self._running.add(what)
            return False
        if what not in self._seen:
            ago = 0.0 if what in self._running else (now() - ended_at).total_seconds()
            self._seen[what] = self._clock() - min(max(ago, 0.0), seconds)
        return self._clock() - self._seen[what] >= seconds

"""What services and executors do with batches: each method one transaction."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from sqlalchemy import exists, select

from aiauto.errors import NotFoundError
from aiauto.server.batches import gpu_shares, leases, stopping, workers
from aiauto.server.batches.changes import Changes
from aiauto.server.batches.enrollment import Enrollment
from aiauto.server.batches.expiry import Expiry
from aiauto.server.batches.heartbeats import Heartbeats
from aiauto.server.batches.memory_limits import memory_limit
from aiauto.server.batches.records import BatchRecord, WorkerRecord, WorkerTicket
from aiauto.server.batches.work import Work
from aiauto.server.database.models import Lease, TrialBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal import Journal

DRAIN_POLL_SECONDS = 0.1


class Batches:
    """All batches of the server.

    Attributes:
        changes: Tells whoever watches that a batch has changed.
        work: What workers do with them.
        expiry: Ends what has taken too long.
        enrollment: Enters Pods as workers.
        lease_ttl: Seconds of silence after which a worker is suspected to be dead.
        heartbeat_interval: Seconds between signs of life that workers are told to send.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        lease_ttl: float = 60.0,
        lease_grace: float = 30.0,
        heartbeat_interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            database: Where batches are kept.
            journal: The journals that their trials live in.
            lease_ttl: Seconds of silence after which a worker is suspected to be dead.
            lease_grace: Seconds more after which it counts as dead.
            heartbeat_interval: Seconds between signs of life that workers are told to send.
            clock: Tells the time in seconds, and never jumps.
        """
        self._database = database
        self._journal = journal
        heartbeats = Heartbeats(lease_ttl, lease_grace, clock)
        self.lease_ttl = lease_ttl
        self.heartbeat_interval = heartbeat_interval
        self.changes: Changes = Changes()
        self.work: Work = Work(database, journal, heartbeats, self.changes)
        self.expiry: Expiry = Expiry(database, journal, heartbeats, self.changes, clock)
        self.enrollment: Enrollment = Enrollment(database, self.changes)

    async def unfinished(self) -> list[BatchRecord]:
        """The batches that are not over, oldest first."""

        def unit(session: Session) -> list[BatchRecord]:
            query = select(TrialBatch).where(TrialBatch.finished_at.is_(None))
            return [
                _batch_record(batch) for batch in session.scalars(query.order_by(TrialBatch.id))
            ]

        return await self._database.read(unit)

    async def with_workers_left(self) -> list[str]:
        """The names of batches that are over, and have workers whose end nobody has noted."""
        return await self._database.read(workers.left)

    async def find_unfinished(self, batch_name: str) -> BatchRecord | None:
        """One batch; None where it is over or gone."""

        def unit(session: Session) -> BatchRecord | None:
            query = select(TrialBatch).where(
                TrialBatch.name == batch_name, TrialBatch.finished_at.is_(None)
            )
            batch = session.scalar(query)
            return None if batch is None else _batch_record(batch)

        return await self._database.read(unit)

    async def is_over(self, batch_name: str) -> bool:
        """Whether every trial of a batch has ended. A batch that is gone is over."""

        def unit(session: Session) -> bool:
            batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
            return batch is None or batch.is_over

        return await self._database.read(unit)

    async def gpu_shares(self, batch_name: str) -> dict[str, int]:
        """Trials that have not ended, by the GPU model that they run on; empty for any model."""

        def unit(session: Session) -> dict[str, int]:
            batch = _named(session, batch_name)
            wanted = gpu_shares.needs(v1.TrialBatchSpec.parse(batch.spec))
            return {} if wanted is None else gpu_shares.remaining(session, batch, wanted)

        return await self._database.read(unit)

    async def waits_for(self, batch_name: str, what: str) -> None:
        """Note what keeps a batch from having all of its workers.

        Args:
            batch_name: The batch. Nothing happens where it is gone.
            what: A sentence; empty for nothing.
        """

        def unit(session: Session) -> int | None:
            batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
            if batch is None or batch.waits_for == what:
                return None
            batch.waits_for = what
            return batch.id

        self._announce(await self._database.write(unit))

    async def create_worker(self, batch_name: str, *, gpu_share: str | None = None) -> WorkerTicket:
        """Enter a new worker.

        Args:
            batch_name: The batch.
            gpu_share: The GPU model whose trials it runs, empty for those of no model; None where
                trials are not shared out.

        Raises:
            NotFoundError: The batch is gone.
        """
        return await self._database.write(
            lambda session: workers.create(
                session, _named(session, batch_name), gpu_share=gpu_share
            )
        )

    async def worker_started(self, worker_name: str, *, process_id: int) -> None:
        """Note the process of a worker."""

        def unit(session: Session) -> int | None:
            worker = workers.named(session, worker_name)
            if worker is None:
                return None
            worker.process_id = process_id
            return worker.batch_id

        self._announce(await self._database.write(unit))

    async def worker_exited(
        self, worker_name: str, *, exit_code: int | None, reason: str, message: str
    ) -> None:
        """Note a worker's end. A lease that it still holds fails, and its token is void.

        Args:
            worker_name: The worker.
            exit_code: Its exit code, negative for a signal; None where it is not known.
            reason: One CamelCase word.
            message: A sentence for people: why its trial failed, if it held one.
        """

        def unit(session: Session) -> int | None:
            worker = workers.named(session, worker_name)
            if worker is None or worker.phase in workers.ENDED:
                return None
            workers.end(
                session,
                self._journal,
                worker,
                exit_code=exit_code,
                reason=reason,
                message=message,
                draining=self.work.draining,
            )
            return worker.batch_id

        self._announce(await self._database.write(unit))

    async def live_workers(self, batch_name: str) -> list[WorkerRecord]:
        """The workers of a batch that have not ended as far as is known, oldest first."""
        return await self._database.read(lambda session: workers.live(session, batch_name))

    async def unresponsive_workers(self, batch_name: str) -> list[str]:
        """The workers whose lease was taken from them, and who have not asked for another since."""
        return await self._database.read(lambda session: workers.unresponsive(session, batch_name))

    async def has_leased(self, worker_name: str) -> bool:
        """Whether a worker ever got as far as to acquire a lease."""
        return await self._database.read(lambda session: workers.has_leased(session, worker_name))

    async def fail_batch(self, batch_name: str, error: str) -> None:
        """End a batch that can't go on: what has not ended counts as failed.

        Args:
            batch_name: The batch. Nothing happens where it is over or gone.
            error: Why, with what to do about it.
        """

        def unit(session: Session) -> int | None:
            batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
            if batch is None or batch.is_over:
                return None
            stopping.fail(session, self._journal, batch, error)
            return batch.id

        self._announce(await self._database.write(unit))

    async def cancel(self, batch_name: str) -> None:
        """End a batch: no further trial begins, and those that run fail.

        Raises:
            NotFoundError: It is gone.
        """

        def unit(session: Session) -> int:
            batch = _named(session, batch_name)
            stopping.cancel(session, self._journal, batch)
            return batch.id

        self._announce(await self._database.write(unit))

    async def drain(self, patience: float) -> None:
        """The server is being stopped: let no trial begin, and wait for those that run.

        Those that are cut off later are run again when the server is back, and count as none.

        Args:
            patience: Seconds to wait at most.
        """
        self.work.draining = True

        def running(session: Session) -> bool:
            return session.scalar(select(exists().where(Lease.state == leases.LEASED))) is True

        end = time.monotonic() + patience
        while time.monotonic() < end and await self._database.read(running):  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    @property
    def draining(self) -> bool:
        """Whether the server is being stopped, so that no trial begins."""
        return self.work.draining

    def close(self) -> None:
        """End the streams of all who watch: the server is stopping."""
        self.changes.close()

    def _announce(self, batch_id: int | None) -> None:
        if batch_id is not None:
            self.changes.announce(batch_id)


def _named(session: Session, batch_name: str) -> TrialBatch:
    batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
    if batch is None:
        raise NotFoundError(f"The batch {batch_name!r} is not there.")
    return batch


def _batch_record(batch: TrialBatch) -> BatchRecord:
    remaining = batch.n_trials - batch.count_completed
    spec = v1.TrialBatchSpec.parse(batch.spec)
    return BatchRecord(
        batch.name,
        batch.n_trials,
        batch.parallelism,
        remaining,
        batch.max_retries,
        gpu_shares.needs(spec),
        memory_limit(spec),
    )

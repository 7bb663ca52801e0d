"""What workers do with batches: each method one transaction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from aiauto.errors import (
    AbortedError,
    AIAutoError,
    FailedPreconditionError,
    UnavailableError,
)
from aiauto.server.batches import acquiring, appending, late, leases, stopping, workers
from aiauto.server.batches.leases import Reason
from aiauto.server.database.models import Lease, TrialBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiauto_gen.aiauto import v1
    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.batches.appending import Appended
    from aiauto.server.batches.changes import Changes
    from aiauto.server.batches.heartbeats import Heartbeats
    from aiauto.server.batches.records import Acquired
    from aiauto.server.batches.stopping import StopReason
    from aiauto.server.database import Database
    from aiauto.server.journal import Journal
    from aiauto.server.journal.entries import Entry


class Work:
    """Trials as they are leased, reported and given up.

    Attributes:
        draining: Whether the server is being stopped, so that no trial begins.
    """

    def __init__(
        self, database: Database, journal: Journal, heartbeats: Heartbeats, changes: Changes
    ) -> None:
        """Make it.

        Args:
            database: Where batches are kept.
            journal: The journals that their trials live in.
            heartbeats: Told who was heard of.
            changes: Told which batches have changed.
        """
        self._database = database
        self._journal = journal
        self._heartbeats = heartbeats
        self._changes = changes
        self.draining: bool = False

    async def register(
        self, worker: WorkerIdentity, *, python_version: str, host_name: str, process_id: int
    ) -> None:
        """Note that a worker is up."""
        await self._database.write(
            lambda session: workers.register(
                session,
                worker.worker_id,
                python_version=python_version,
                host_name=host_name,
                process_id=process_id,
            )
        )
        self._changes.announce(worker.batch_id)

    async def acquire(self, worker: WorkerIdentity, trial_limit: int = 0) -> Acquired:
        """Give a worker the right to run one trial.

        Args:
            worker: The worker.
            trial_limit: How many trials of the study may have begun for now; 0 for no limit.
        """
        acquired = await self._database.write(
            lambda session: acquiring.acquire(
                session,
                self._journal,
                worker.worker_id,
                self._heartbeats,
                trial_limit=trial_limit,
                draining=self.draining,
            )
        )
        self._note_acquired(worker, acquired)
        return acquired

    async def stop(self, worker: WorkerIdentity, reason: StopReason) -> None:
        """A worker says that no further trial of its batch shall begin."""

        def unit(session: Session) -> None:
            batch = session.get_one(TrialBatch, worker.batch_id)
            stopping.stop(session, self._journal, batch, reason)

        await self._database.write(unit)
        self._changes.announce(worker.batch_id)

    async def heartbeat(self, worker: WorkerIdentity, ref: v1.LeaseRef | None) -> tuple[bool, bool]:
        """Note a sign of life.

        Args:
            worker: The worker.
            ref: The lease that it holds, if any.

        Returns:
            Whether the lease was lost, and whether the batch is over.
        """
        lease_id = leases.id_of(ref)

        def unit(session: Session) -> tuple[bool, bool]:
            batch = session.get(TrialBatch, worker.batch_id)
            over = batch is None or batch.is_over
            if ref is None or lease_id is None:
                return False, over
            lease = session.get(Lease, lease_id)
            lost = lease is None or lease.worker_id != worker.worker_id or lease.fence != ref.fence
            return lost, over

        lost, over = await self._database.read(unit)
        if lease_id is not None and not lost:
            self._heartbeats.heard(lease_id)
        return lost, over

    async def fail_lease(
        self, worker: WorkerIdentity, ref: v1.LeaseRef | None, error: str, *, stopped: bool = False
    ) -> None:
        """Give a worker's lease up as failed. Does nothing where the lease is no longer its own.

        Args:
            worker: The worker.
            ref: The lease.
            error: Why, for people.
            stopped: Whether the worker was asked to end.
        """

        def unit(session: Session) -> None:
            lease_id = leases.id_of(ref)
            if lease_id is None:
                raise FailedPreconditionError("lease: name the lease to give up.")
            lease = session.get(Lease, lease_id)
            ours = lease is not None and lease.worker_id == worker.worker_id
            if lease is not None and ours and lease.state == leases.LEASED:
                reason = Reason.WORKER_ENDED if stopped else Reason.ERROR
                if self.draining:
                    reason = Reason.SERVER_STOPPED
                leases.fail(session, self._journal, lease, reason, error)

        await self._database.write(unit)
        self._changes.announce(worker.batch_id)

    async def fail_worker(self, worker: WorkerIdentity, error: str) -> None:
        """A worker can't run the batch at all, and no other one could: the batch fails."""

        def unit(session: Session) -> None:
            batch = session.get_one(TrialBatch, worker.batch_id)
            if not batch.is_over:
                stopping.fail(session, self._journal, batch, error)

        await self._database.write(unit)
        self._changes.announce(worker.batch_id)

    async def append(
        self,
        workspace_id: int,
        request: v1.AppendEntriesRequest,
        worker: WorkerIdentity | None,
    ) -> Appended:
        """Append entries to a journal, and let leases and counts follow, in one transaction.

        Args:
            workspace_id: The workspace.
            request: What to append.
            worker: The worker that appends; None for a user's own program.

        Raises:
            InvalidArgumentError: An entry can't be replayed.
            NotFoundError: A study is not there.
            AbortedError: The worker's lease was lost.
            FailedPreconditionError: The entries are not what a worker may append.
            PermissionDeniedError: They are about another study than the worker's.
        """
        wanted = appending.checked(self._journal, workspace_id, request)

        def unit(session: Session, *, is_new: bool) -> Appended:
            return appending.append(
                session,
                self._journal,
                self._heartbeats,
                wanted,
                worker=worker,
                is_new=is_new,
                draining=self.draining,
            )

        try:
            appended = await self._write(unit)
        except AbortedError:
            if worker is not None:
                await self._set_aside(worker, request.lease, wanted.entries)
            raise
        for batch_id in appended.moved:
            self._changes.announce(batch_id)
        if worker is not None:
            self._note_appended(worker, request.lease, appended.acquired)
        return appended

    async def _write(self, append: Callable[..., Appended]) -> Appended:
        """Append what may have been appended before. Hardly any was: that is looked up if it fails.

        Args:
            append: The unit. Whether it is new is said by the argument `is_new`.
        """
        try:
            return await self._database.write(partial(append, is_new=True))
        except UnavailableError:
            raise
        except (AIAutoError, IntegrityError):
            return await self._database.write(partial(append, is_new=False))

    async def _set_aside(
        self, worker: WorkerIdentity, ref: v1.LeaseRef | None, entries: Sequence[Entry]
    ) -> None:
        def unit(session: Session) -> bool:
            return late.set_aside(session, worker.worker_id, ref, entries)

        if await self._database.write(unit):
            self._changes.announce(worker.batch_id)

    def _note_appended(
        self, worker: WorkerIdentity, ref: v1.LeaseRef | None, acquired: Acquired | None
    ) -> None:
        if (lease_id := leases.id_of(ref)) is not None:
            self._heartbeats.heard(lease_id)
        if acquired is not None:
            self._note_acquired(worker, acquired)

    def _note_acquired(self, worker: WorkerIdentity, acquired: Acquired) -> None:
        if acquired.lease_id is not None:
            self._heartbeats.heard(acquired.lease_id)
        self._changes.announce(worker.batch_id)

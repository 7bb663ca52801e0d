"""What the services and the executor do with batches: each method one transaction."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from aiauto.errors import FailedPreconditionError, NotFoundError
from aiauto.server.auth import new_token
from aiauto.server.batches import leases
from aiauto.server.batches.changes import Changes
from aiauto.server.batches.heartbeats import Heartbeats
from aiauto.server.batches.records import BatchRecord, WorkerRecord, WorkerTicket
from aiauto.server.database.models import (
    Lease,
    Study,
    Token,
    TrialBatch,
    Worker,
    Workspace,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.aiauto import v1
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.database import Database
    from aiauto.server.journal import Journal
    from aiauto.server.journal.journal import Slice

logger: logging.Logger = logging.getLogger("aiauto.server")

EXPIRY_INTERVAL_SECONDS = 1.0
ENDED = ("Succeeded", "Failed")


class Batches:
    """All batches of the server."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        lease_ttl: float = 60.0,
        heartbeat_interval: float = 5.0,
    ) -> None:
        """Make it.

        Args:
            database: Where batches are kept.
            journal: The journals that their trials live in.
            lease_ttl: Seconds of silence after which a worker counts as dead.
            heartbeat_interval: Seconds between signs of life that workers are told to send.
        """
        self._database = database
        self._journal = journal
        self._heartbeats = Heartbeats(lease_ttl)
        self.lease_ttl = lease_ttl
        self.heartbeat_interval = heartbeat_interval
        self.changes: Changes = Changes()

    # ------------------------------------------------------------------ for the executor

    async def unfinished(self) -> list[BatchRecord]:
        """The batches that are not over, oldest first."""

        def unit(session: Session) -> list[BatchRecord]:
            query = select(TrialBatch).where(TrialBatch.finished_at.is_(None))
            return [
                _batch_record(batch) for batch in session.scalars(query.order_by(TrialBatch.id))
            ]

        return await self._database.read(unit)

    async def get(self, batch_name: str) -> BatchRecord:
        """One batch.

        Raises:
            NotFoundError: It is gone.
        """
        return await self._database.read(lambda session: _batch_record(_named(session, batch_name)))

    async def is_over(self, batch_name: str) -> bool:
        """Whether every trial of a batch has ended. A batch that is gone is over."""

        def unit(session: Session) -> bool:
            batch = session.scalar(select(TrialBatch).where(TrialBatch.name == batch_name))
            return batch is None or batch.is_over

        return await self._database.read(unit)

    async def create_worker(self, batch_name: str) -> WorkerTicket:
        """Enter a new worker.

        Raises:
            NotFoundError: The batch is gone.
        """

        def unit(session: Session) -> WorkerTicket:
            batch = _named(session, batch_name)
            study = session.get_one(Study, batch.study_id, with_for_update=True)
            ordinal = study.worker_count
            study.worker_count += 1
            worker = Worker(name=f"{batch.name}-{ordinal}", batch_id=batch.id, ordinal=ordinal)
            session.add(worker)
            session.flush()
            user_id = session.get_one(Workspace, study.workspace_id).user_id
            return WorkerTicket(
                worker.name, new_token(session, user_id, worker_id=worker.id), ordinal
            )

        return await self._database.write(unit)

    async def worker_started(self, worker_name: str, *, process_id: int) -> None:
        """Note the process of a worker."""

        def unit(session: Session) -> int | None:
            worker = session.scalar(select(Worker).where(Worker.name == worker_name))
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
            worker = session.scalar(select(Worker).where(Worker.name == worker_name))
            if worker is None or worker.phase in ENDED:
                return None
            worker.phase = "Succeeded" if exit_code == 0 else "Failed"
            worker.exit_code, worker.reason = exit_code, reason
            worker.message = leases.shortened(message)
            worker.ended_at = now()
            for lease in _open_leases(session, Lease.worker_id == worker.id):
                leases.fail(session, self._journal, lease, message)
            session.execute(delete(Token).where(Token.worker_id == worker.id))
            return worker.batch_id

        self._announce(await self._database.write(unit))

    async def live_workers(self, batch_name: str) -> list[WorkerRecord]:
        """The workers of a batch that have not ended as far as is known, oldest first."""

        def unit(session: Session) -> list[WorkerRecord]:
            query = (
                select(Worker)
                .join(TrialBatch, TrialBatch.id == Worker.batch_id)
                .where(TrialBatch.name == batch_name, Worker.phase.not_in(ENDED))
            )
            return [
                WorkerRecord(worker.name, worker.process_id, worker.started_at)
                for worker in session.scalars(query.order_by(Worker.id))
            ]

        return await self._database.read(unit)

    async def has_leased(self, worker_name: str) -> bool:
        """Whether a worker ever got as far as to acquire a lease."""
        query = (
            select(func.count())
            .select_from(Lease)
            .join(Worker, Worker.id == Lease.worker_id)
            .where(Worker.name == worker_name)
        )
        return await self._database.read(lambda session: bool(session.scalar(query)))

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
            self._fail(session, batch, error)
            return batch.id

        self._announce(await self._database.write(unit))

    # ------------------------------------------------------------------- for the runner

    async def register(
        self, worker: WorkerIdentity, *, python_version: str, host_name: str, process_id: int
    ) -> None:
        """Note that a worker is up."""

        def unit(session: Session) -> None:
            row = session.get_one(Worker, worker.worker_id)
            row.phase = "Running"
            row.python_version, row.host_name = python_version[:64], host_name[:255]
            row.process_id = process_id
            row.started_at = row.started_at or now()
            batch = session.get_one(TrialBatch, worker.batch_id)
            batch.started_at = batch.started_at or now()

        await self._database.write(unit)
        self._announce(worker.batch_id)

    async def acquire(self, worker: WorkerIdentity) -> tuple[str, int] | None:
        """Give a worker the right to run one trial.

        Returns:
            Id and fence of the lease, None where there is none to be had.
        """

        def unit(session: Session) -> tuple[int, int] | None:
            lease = leases.acquire(session, worker.worker_id)
            return None if lease is None else (lease.id, lease.fence)

        acquired = await self._database.write(unit)
        if acquired is None:
            return None
        self._heartbeats.heard(acquired[0])
        self._announce(worker.batch_id)
        return str(acquired[0]), acquired[1]

    async def heartbeat(self, worker: WorkerIdentity, ref: v1.LeaseRef | None) -> tuple[bool, bool]:
        """Note a sign of life.

        Args:
            worker: The worker.
            ref: The lease that it holds, if any.

        Returns:
            Whether the lease was lost, and whether the batch is over.
        """

        def unit(session: Session) -> tuple[bool, bool]:
            batch = session.get(TrialBatch, worker.batch_id)
            over = batch is None or batch.is_over
            if ref is None or not ref.lease_id.isdecimal():
                return False, over
            lease = session.get(Lease, int(ref.lease_id))
            lost = lease is None or lease.worker_id != worker.worker_id or lease.fence != ref.fence
            return lost, over

        lost, over = await self._database.read(unit)
        if ref is not None and ref.lease_id.isdecimal() and not lost:
            self._heartbeats.heard(int(ref.lease_id))
        return lost, over

    async def fail_lease(self, worker: WorkerIdentity, ref: v1.LeaseRef | None, error: str) -> None:
        """Give a worker's lease up as failed. Does nothing where the lease is no longer its own."""

        def unit(session: Session) -> None:
            if ref is None or not ref.lease_id.isdecimal():
                raise FailedPreconditionError("lease: name the lease to give up.")
            lease = session.get(Lease, int(ref.lease_id))
            ours = lease is not None and lease.worker_id == worker.worker_id
            if lease is not None and ours and lease.state == leases.LEASED:
                leases.fail(session, self._journal, lease, error)

        await self._database.write(unit)
        self._announce(worker.batch_id)

    async def fail_worker(self, worker: WorkerIdentity, error: str) -> None:
        """A worker can't run the batch at all, and no other one could: the batch fails."""

        def unit(session: Session) -> None:
            batch = session.get_one(TrialBatch, worker.batch_id)
            if not batch.is_over:
                self._fail(session, batch, error)

        await self._database.write(unit)
        self._announce(worker.batch_id)

    async def append(
        self,
        workspace_id: int,
        request: v1.AppendEntriesRequest,
        worker: WorkerIdentity | None,
    ) -> Slice:
        """Append entries to a journal, and let leases and counts follow, in one transaction.

        Args:
            workspace_id: The workspace.
            request: What to append.
            worker: The worker that appends; None for a user's own program.

        Returns:
            What is new to the caller.

        Raises:
            InvalidArgumentError: An entry can't be replayed.
            NotFoundError: A study is not there.
            AbortedError: The worker's lease was lost.
            FailedPreconditionError: The entries are not what a worker may append.
        """
        entries = self._journal.parse(request.entries)

        def unit(session: Session) -> tuple[set[int], Slice]:
            lease = None
            if worker is not None:
                lease = leases.of_worker(session, worker.worker_id, request.lease)
            changes = self._journal.append(
                session, workspace_id, entries, request.entries, request.request_id or None
            )
            moved = leases.record(
                session, workspace_id, changes or (), lease=lease, error=request.error
            )
            return moved, self._journal.read(session, workspace_id, request.position)

        moved, new = await self._database.write(unit)
        for batch_id in moved:
            self.changes.announce(batch_id)
        return new

    # ------------------------------------------------------------------- the background

    async def run(self) -> None:
        """Take leases from workers that have fallen silent, for as long as the server runs."""
        while True:
            await asyncio.sleep(EXPIRY_INTERVAL_SECONDS)
            try:
                await self.expire_leases()
            except Exception:
                # The database may be away for a while; leases are looked at again in a second.
                logger.exception("Leases could not be looked at")

    async def expire_leases(self) -> None:
        """Fail the leases of workers that have fallen silent."""

        def held(session: Session) -> set[int]:
            return set(session.scalars(select(Lease.id).where(Lease.state == leases.LEASED)))

        silent = self._heartbeats.silent(await self._database.read(held))
        if not silent:
            return

        def unit(session: Session) -> set[int]:
            message = (
                f"The worker has not been heard of for {self.lease_ttl:g} s and counts as dead."
            )
            expired = _open_leases(session, Lease.id.in_(silent))
            for lease in expired:
                leases.fail(session, self._journal, lease, message)
            return {lease.batch_id for lease in expired}

        for batch_id in await self._database.write(unit):
            self.changes.announce(batch_id)

    def close(self) -> None:
        """End the streams of all who watch: the server is stopping."""
        self.changes.close()

    # ----------------------------------------------------------------------------- both

    def _fail(self, session: Session, batch: TrialBatch, error: str) -> None:
        for lease in _open_leases(session, Lease.batch_id == batch.id):
            leases.fail(session, self._journal, lease, error)
        batch.count_failed += batch.n_trials - batch.count_completed
        leases.note_error(batch, leases.shortened(error))
        leases.finish_if_done(batch)

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
    return BatchRecord(batch.name, batch.n_trials, batch.parallelism, remaining)


def _open_leases(session: Session, condition: ColumnElement[bool]) -> Sequence[Lease]:
    return session.scalars(select(Lease).where(condition, Lease.state == leases.LEASED)).all()

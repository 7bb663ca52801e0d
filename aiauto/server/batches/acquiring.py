"""What comes of asking for a lease: it is given, it may be later, or it never will be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.server.batches import gpu_shares, leases, stopping
from aiauto.server.batches.leases import Reason
from aiauto.server.batches.records import Acquired
from aiauto.server.database import rows
from aiauto.server.database.models import Lease, Worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.batches.heartbeats import Heartbeats
    from aiauto.server.journal import Journal
    from aiauto.server.journal.entries import Entry


@dataclass(frozen=True)
class FirstEntry:
    """What a worker appends first under a lease: it creates the lease's trial.

    Attributes:
        workspace_id: The workspace.
        entry: The entry, checked.
        text: The same as it was sent.
    """

    workspace_id: int
    entry: Entry
    text: str


def acquire(
    session: Session,
    journal: Journal,
    worker_id: int,
    heartbeats: Heartbeats,
    *,
    trial_limit: int = 0,
    holds_none: bool = False,
    first: FirstEntry | None = None,
    draining: bool = False,
) -> Acquired:
    """Give a worker the right to run one trial, in a unit of `Database.write`.

    Args:
        session: The unit's session.
        journal: The journals.
        worker_id: The worker. One that holds a lease is given the same.
        heartbeats: Who may be dead: rather than wait, the worker runs the trial of such a one.
        trial_limit: How many trials of the study may have begun for now; 0 for no limit.
        holds_none: Whether it is known that the worker holds no lease.
        first: What to append under the lease, unless a trial waits to be run before any new one.
        draining: Whether no further trial shall begin before the server is started again.
    """
    worker = rows.known(session, Worker, worker_id) or session.get_one(Worker, worker_id)
    lease = None if holds_none else _held(session, worker)
    is_new = lease is None
    if lease is None and draining:
        return Acquired(may_come=True)
    if lease is None:
        lease, may_come = _attempt(session, journal, worker, trial_limit)
        if may_come and _free_suspected(session, journal, worker, heartbeats):
            lease, may_come = _attempt(session, journal, worker, trial_limit)
        # Written only where it changes, which is seldom.
        if worker.is_idle != (lease is None):
            worker.is_idle = lease is None
        if lease is None:
            return Acquired(may_come=may_come)
    if first is not None and lease.trial_id is None:
        _begin(session, journal, lease, first)
    if is_new:
        rows.add(session, lease)
    return Acquired(lease_id=lease.id, fence=lease.fence, begun=lease.trial_id is not None)


def _held(session: Session, worker: Worker) -> Lease | None:
    # Nobody else may give it one in the meantime.
    leases.locked_batch(session, worker.batch_id)
    return next(iter(leases.held(session, Lease.worker_id == worker.id)), None)


def _attempt(
    session: Session, journal: Journal, worker: Worker, trial_limit: int
) -> tuple[Lease | None, bool]:
    """A new lease; or None, and whether there may be one later."""
    batch = leases.locked_batch(session, worker.batch_id)
    limited = trial_limit > 0 and stopping.is_at_limit(session, journal, batch, trial_limit)
    turn = gpu_shares.turn(session, batch, worker)
    if turn.may_begin and not limited:
        lease = leases.acquire(session, worker, batch)
        if lease is not None:
            return lease, False
    # What fails may have to be run again, and a limit may rise.
    all_begun = batch.count_active + batch.count_completed >= batch.n_trials
    may_rise = limited and turn.may_begin and not all_begun
    may_fail = batch.max_retries > 0 and turn.may_wait
    return None, not batch.is_over and (may_rise or may_fail)


def _begin(session: Session, journal: Journal, lease: Lease, first: FirstEntry) -> None:
    """Create the trial of a lease, as its worker would next."""
    ledger = journal.ledger(session, first.workspace_id)
    study = ledger.studies.get(first.entry["study_id"])
    if study is None or study.waiting:
        return
    changes = journal.append(session, first.workspace_id, [first.entry], [first.text])
    leases.record(session, journal, first.workspace_id, changes or (), lease=lease)


def _free_suspected(
    session: Session, journal: Journal, worker: Worker, heartbeats: Heartbeats
) -> bool:
    """Take a trial that may be run again from a worker that is suspected to be dead."""
    batch = leases.locked_batch(session, worker.batch_id)
    if batch.stop_reason:
        return False
    of_share = select(Worker.id).where(
        Worker.batch_id == batch.id, Worker.gpu_share.is_not_distinct_from(worker.gpu_share)
    )
    may_be_retried = Lease.worker_id.in_(of_share) & (Lease.attempt <= batch.max_retries)
    for lease in leases.held(session, may_be_retried):
        if heartbeats.is_suspected(lease.id):
            message = (
                f"The worker has not been heard of for more than {heartbeats.ttl:g} s, and another "
                "one was free to run its trial again."
            )
            leases.fail(session, journal, lease, Reason.LOST, message)
            return True
    return False

"""What comes of asking for a lease: it is given, it may be later, or it never will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.server.batches import gpu_shares, leases, stopping
from aiauto.server.batches.leases import Reason
from aiauto.server.batches.records import Acquired
from aiauto.server.database.models import Lease, Worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.batches.heartbeats import Heartbeats
    from aiauto.server.journal import Journal


def acquire(
    session: Session, journal: Journal, worker_id: int, heartbeats: Heartbeats, trial_limit: int
) -> Acquired:
    """Give a worker the right to run one trial, in a unit of `Database.write`.

    Args:
        session: The unit's session.
        journal: The journals.
        worker_id: The worker.
        heartbeats: Who may be dead: rather than wait, the worker runs the trial of such a one.
        trial_limit: How many trials of the study may have begun for now; 0 for no limit.
    """
    acquired = _attempt(session, journal, worker_id, trial_limit)
    if acquired.may_come and _free_suspected(session, journal, worker_id, heartbeats):
        acquired = _attempt(session, journal, worker_id, trial_limit)
    return acquired


def _attempt(session: Session, journal: Journal, worker_id: int, trial_limit: int) -> Acquired:
    worker = session.get_one(Worker, worker_id)
    batch = leases.locked_batch(session, worker.batch_id)
    limited = trial_limit > 0 and stopping.is_at_limit(session, journal, batch, trial_limit)
    turn = gpu_shares.turn(session, batch, worker_id)
    only_held = limited or not turn.may_begin
    lease = leases.acquire(session, worker_id, only_held=only_held)
    if lease is not None:
        return Acquired(lease_id=lease.id, fence=lease.fence)
    # What fails may have to be run again, and a limit may rise.
    all_begun = batch.count_active + batch.count_completed >= batch.n_trials
    may_rise = limited and turn.may_begin and not all_begun
    may_fail = batch.max_retries > 0 and turn.may_wait
    return Acquired(may_come=not batch.is_over and (may_rise or may_fail))


def _free_suspected(
    session: Session, journal: Journal, worker_id: int, heartbeats: Heartbeats
) -> bool:
    """Take a trial that may be run again from a worker that is suspected to be dead."""
    worker = session.get_one(Worker, worker_id)
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

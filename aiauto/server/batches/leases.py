"""What a lease goes through, in units of `Database.write`: acquired, bound to a trial, ended."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from optuna.trial import TrialState
from sqlalchemy import bindparam, delete, select

from aiauto.errors import AbortedError, FailedPreconditionError
from aiauto.server.batches import retries
from aiauto.server.database import rows
from aiauto.server.database.models import Lease, Study, Token, TrialBatch, Worker, now
from aiauto.server.database.unit import of_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.aiauto import v1
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from aiauto.server.journal import Journal, TrialChange

LEASED = "LEASED"
RETRIED = "RETRIED"
MAX_ERROR_CHARACTERS = 64 * 1024
MAX_ID_DIGITS = 18

# Made once. Every append of every worker begins with the first.
_LEASE = (
    select(Lease, TrialBatch, Worker)
    .join(TrialBatch, TrialBatch.id == Lease.batch_id)
    .join(Worker, Worker.id == Lease.worker_id)
    .where(Lease.id == bindparam("id"))
    .with_for_update(of=TrialBatch)
)
_BATCH = select(TrialBatch).where(TrialBatch.id == bindparam("id")).with_for_update()
_POPULATE: Final = {"populate_existing": True}
# What of a batch counts the trials that ended so.
_COUNTS: Final = {
    TrialState.COMPLETE: TrialBatch.count_succeeded,
    TrialState.PRUNED: TrialBatch.count_pruned,
    TrialState.FAIL: TrialBatch.count_failed,
}


class Reason(str, Enum):
    """Why a trial failed, in one word for programs."""

    ERROR = "Error"
    """The objective raised, or returned what is no value."""
    TIMEOUT = "Timeout"
    """It took longer than a trial may."""
    LOST = "Lost"
    """Its worker fell silent."""
    WORKER_ENDED = "WorkerEnded"
    """Its worker ended: killed, stopped."""
    OUT_OF_MEMORY = "OutOfMemory"
    """Its worker was killed for its memory."""
    SERVER_STOPPED = "ServerStopped"
    """The server was stopped while it ran."""
    CANCELLED = "Cancelled"
    """Its user ended it, or its batch."""
    CANT_RUN = "CantRun"
    """Its batch can't be run at all."""

    @property
    def may_be_retried(self) -> bool:
        """Whether another attempt may do better."""
        return self not in {Reason.CANCELLED, Reason.CANT_RUN}


def acquire(session: Session, worker: Worker, batch: TrialBatch) -> Lease | None:
    """Give a worker the right to run one trial.

    Args:
        session: The unit's session.
        worker: The worker. It holds no lease.
        batch: Its batch, locked.

    Returns:
        The lease, to be added once it is known whether it has its trial; None where all of them
        are given away.
    """
    if batch.is_over or batch.count_active + batch.count_completed >= batch.n_trials:
        return None
    rows.change_at_end(session, batch, {TrialBatch.count_active: batch.count_active + 1})
    return Lease(
        batch_id=batch.id,
        worker_id=worker.id,
        state=LEASED,
        fence=1,
        attempt=1,
        trial_id=None,
        trial_number=None,
        reason="",
        error="",
        acquired_at=now(),
        heard_at=None,
        ended_at=None,
    )


def locked_batch(session: Session, batch_id: int) -> TrialBatch:
    """A batch that nobody else changes until the unit ends. Asks the database once a unit."""
    locked = of_unit(session, TrialBatch)
    if batch_id not in locked:
        locked[batch_id] = session.scalars(
            _BATCH, {"id": batch_id}, execution_options=_POPULATE
        ).one()
    return locked[batch_id]


def held(session: Session, condition: ColumnElement[bool]) -> Sequence[Lease]:
    """The leases in workers' hands that fit a condition."""
    return session.scalars(select(Lease).where(condition, Lease.state == LEASED)).all()


def id_of(ref: v1.LeaseRef | None) -> int | None:
    """The id of the lease that a worker names; None where it names none."""
    # Longer ones would not fit into a column.
    named = ref is not None and ref.lease_id.isdecimal() and len(ref.lease_id) <= MAX_ID_DIGITS
    return int(ref.lease_id) if ref is not None and named else None


def of_worker(session: Session, worker_id: int, ref: v1.LeaseRef | None) -> Lease:
    """Find the lease that a worker names, and lock its batch.

    Args:
        session: The unit's session.
        worker_id: The worker.
        ref: What it names.

    Returns:
        The lease, held or spent by this worker.

    Raises:
        FailedPreconditionError: It names none.
        AbortedError: The lease was taken from it.
    """
    if (lease_id := id_of(ref)) is None or ref is None:
        raise FailedPreconditionError("A worker must name the lease that it works under.")
    lease = _known(session, lease_id) or _read(session, lease_id)
    if lease is None or lease.worker_id != worker_id or lease.fence != ref.fence:
        raise AbortedError(
            "The lease was lost: the worker was thought dead, or its batch was stopped. What it "
            "reports about the trial can't count."
        )
    return lease


def _known(session: Session, lease_id: int) -> Lease | None:
    """A lease with its batch and its worker, where they need not be read."""
    if (lease := rows.known(session, Lease, lease_id)) is None:
        return None
    batch = rows.known(session, TrialBatch, lease.batch_id)
    if batch is None or rows.known(session, Worker, lease.worker_id) is None:
        return None
    of_unit(session, TrialBatch)[batch.id] = batch
    return lease


def _read(session: Session, lease_id: int) -> Lease | None:
    """A lease with its batch and its worker, from the database."""
    found = session.execute(_LEASE, {"id": lease_id}, execution_options=_POPULATE).one_or_none()
    if found is None:
        return None
    lease, batch, worker = found
    of_unit(session, TrialBatch)[batch.id] = batch
    # A session forgets what nobody holds.
    of_unit(session, Worker)[worker.id] = worker
    rows.learn(session, lease, batch, worker)
    return lease


def record(
    session: Session,
    journal: Journal,
    workspace_id: int,
    changes: Sequence[TrialChange],
    *,
    lease: Lease | None = None,
    error: str = "",
) -> set[int]:
    """Let leases follow the trials that entries have started and ended.

    Args:
        session: The unit's session, in which the entries were appended.
        journal: The journals.
        workspace_id: The workspace.
        changes: What the entries did.
        lease: The lease under which a worker appended; None for anybody else.
        error: Why trials failed.

    Returns:
        The batches whose counts have moved.

    Raises:
        FailedPreconditionError: A worker started a second trial under one lease, or ended a trial
            that is not its own.
    """
    moved: set[int] = set()
    for change in changes:
        if change.state == TrialState.RUNNING:
            if lease is not None:
                _bind(session, lease, change)
        elif change.state.is_finished():
            ended = lease if _is_of(lease, change) else _lease_of(session, workspace_id, change)
            if ended is None:
                continue
            if lease is not None and ended is not lease:
                raise FailedPreconditionError("A worker can't end the trial of another.")
            if change.state == TrialState.FAIL:
                _end_failed(session, journal, ended, change, Reason.ERROR, error)
            else:
                _end(session, journal, ended, change.state, improves=change.improves)
            if lease is None:
                # Ended from outside: whoever runs it is told that it no longer counts.
                ended.fence += 1
            moved.add(ended.batch_id)
    return moved


def fail(session: Session, journal: Journal, lease: Lease, reason: Reason, error: str) -> None:
    """Take a lease from its holder. Its trial, if there is one, becomes FAIL.

    Args:
        session: The unit's session.
        journal: The journals.
        lease: A lease that is held.
        reason: Why, for programs.
        error: Why, for people.
    """
    lease.fence += 1
    change: TrialChange | None = None
    if lease.trial_id is not None:
        entry = retries.failed_entry(lease.trial_id)
        workspace_id = _workspace_of(session, lease)
        change = next(iter(journal.append(session, workspace_id, [entry]) or ()), None)
    _end_failed(session, journal, lease, change, reason, error)


def _end_failed(
    session: Session,
    journal: Journal,
    lease: Lease,
    change: TrialChange | None,
    reason: Reason,
    error: str,
) -> None:
    """Spend a lease whose trial has failed, and let another one run it again where that is due."""
    batch = locked_batch(session, lease.batch_id)
    lease.reason = reason.value
    lease.error = shortened(error) or "The trial was told to have failed, without a reason."
    # Stopping the server costs nobody a trial, nor one of its attempts.
    is_free = reason is Reason.SERVER_STOPPED and not batch.stop_reason
    if not is_free:
        note_error(batch, lease.error)
    again = reason.may_be_retried and lease.attempt <= batch.max_retries and not batch.stop_reason
    if not again and not is_free:
        _end(session, journal, lease, TrialState.FAIL)
        return
    # It does not count: whoever takes the place of this lease does.
    lease.state, lease.ended_at = RETRIED, now()
    batch.count_active -= 1
    if change is not None:
        workspace_id = _workspace_of(session, lease)
        attempts = lease.attempt - 1 if is_free else lease.attempt
        retries.enqueue(session, journal, workspace_id, batch.id, change, attempts)


def _end(
    session: Session, journal: Journal, lease: Lease, state: TrialState, *, improves: bool = False
) -> None:
    """Spend a lease and count it."""
    batch = locked_batch(session, lease.batch_id)
    rows.change(session, lease, {Lease.state: state.name, Lease.ended_at: now()})
    count = _COUNTS[state]
    ended: int = getattr(batch, count.key)
    counts = {TrialBatch.count_active: batch.count_active - 1, count: ended + 1}
    if state != TrialState.FAIL:  # what failed says nothing about the search
        counts[TrialBatch.stagnant_trials] = 0 if improves else batch.stagnant_trials + 1
    rows.change_at_end(session, batch, counts)
    finish_if_done(session, journal, batch)


def finish_if_done(session: Session, journal: Journal, batch: TrialBatch) -> None:
    """Close a batch whose trials have all ended."""
    if batch.count_completed >= batch.n_trials and batch.finished_at is None:
        batch.finished_at = now()
        # No Pod becomes its worker any more.
        session.execute(delete(Token).where(Token.batch_id == batch.id))
        # What waits to be run again never will be.
        study = session.get_one(Study, batch.study_id)
        retries.give_up_waiting(session, journal, study.workspace_id, batch.id)


def note_error(batch: TrialBatch, error: str) -> None:
    """Keep the newest error of a batch."""
    batch.last_error = error
    batch.last_error_at = now()


def shortened(error: str) -> str:
    """A text of bounded length: the end of a traceback says what happened."""
    if len(error) <= MAX_ERROR_CHARACTERS:
        return error
    return "[the beginning is cut]\n" + error[-MAX_ERROR_CHARACTERS:]


def _bind(session: Session, lease: Lease, change: TrialChange) -> None:
    if lease.state != LEASED or lease.trial_id is not None:
        raise FailedPreconditionError(
            "A worker may start one trial a lease. To evaluate further points inside an objective, "
            "use a study of your own."
        )
    lease.trial_id, lease.trial_number = change.trial_id, change.number
    if locked_batch(session, lease.batch_id).max_retries:
        lease.attempt = retries.attempt_of(session, lease.batch_id, change.trial_id)


def _workspace_of(session: Session, lease: Lease) -> int:
    return session.scalars(
        select(Study.workspace_id)
        .join(TrialBatch, TrialBatch.study_id == Study.id)
        .where(TrialBatch.id == lease.batch_id)
    ).one()


def _is_of(lease: Lease | None, change: TrialChange) -> bool:
    return lease is not None and lease.state == LEASED and lease.trial_id == change.trial_id


def _lease_of(session: Session, workspace_id: int, change: TrialChange) -> Lease | None:
    return session.scalar(
        select(Lease)
        .join(TrialBatch, TrialBatch.id == Lease.batch_id)
        .join(Study, Study.id == TrialBatch.study_id)
        .where(
            Study.workspace_id == workspace_id,
            Lease.trial_id == change.trial_id,
            Lease.state == LEASED,
        )
    )

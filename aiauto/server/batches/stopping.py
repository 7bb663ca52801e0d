"""Ends of batches before all of their trials have begun, in units of `Database.write`."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from aiauto.server.batches import leases
from aiauto.server.database.models import Lease, Study, TrialBatch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.journal import Journal


class StopReason(str, Enum):
    """Why a batch ended early, in one word for programs."""

    CANCELLED = "Cancelled"
    """Its user wanted so."""
    TIMEOUT = "Timeout"
    """Its time was up."""
    NO_IMPROVEMENT = "NoImprovement"
    """Too many trials in a row were no better."""
    EXHAUSTED = "SearchSpaceExhausted"
    """Every point of the search space was given to a trial."""
    BY_OBJECTIVE = "StoppedByObjective"
    """The objective called `study.stop`."""


def stop(session: Session, journal: Journal, batch: TrialBatch, reason: StopReason) -> None:
    """Let no further trial of a batch begin. Those that run go on, and are all that it has.

    Does nothing where all of them have begun.
    """
    begun = batch.count_active + batch.count_completed
    if batch.is_over or begun >= batch.n_trials:
        return
    batch.stop_reason = reason.value
    batch.n_trials = begun
    leases.finish_if_done(session, journal, batch)


def cancel(session: Session, journal: Journal, batch: TrialBatch) -> None:
    """End a batch and its running trials."""
    if batch.is_over:
        return
    stop(session, journal, batch, StopReason.CANCELLED)
    batch.stop_reason = StopReason.CANCELLED.value
    message = "The batch was cancelled."
    for lease in leases.held(session, Lease.batch_id == batch.id):
        leases.fail(session, journal, lease, leases.Reason.CANCELLED, message)


def fail(session: Session, journal: Journal, batch: TrialBatch, error: str) -> None:
    """End a batch that can't go on: what has not ended counts as failed.

    Args:
        session: The unit's session.
        journal: The journals.
        batch: The batch.
        error: Why, with what to do about it.
    """
    for lease in leases.held(session, Lease.batch_id == batch.id):
        leases.fail(session, journal, lease, leases.Reason.CANT_RUN, error)
    batch.count_failed += batch.n_trials - batch.count_completed
    leases.note_error(batch, leases.shortened(error))
    leases.finish_if_done(session, journal, batch)


def stop_stagnant(session: Session, journal: Journal, batch: TrialBatch) -> None:
    """End a batch of which too many trials in a row were no better than those before."""
    if batch.patience and batch.stagnant_trials >= batch.patience:
        stop(session, journal, batch, StopReason.NO_IMPROVEMENT)


def is_at_limit(session: Session, journal: Journal, batch: TrialBatch, trial_limit: int) -> bool:
    """Whether as many trials of a batch's study have begun as may for now.

    Args:
        session: The unit's session.
        journal: The journals.
        batch: The batch.
        trial_limit: How many those are.
    """
    study = session.get_one(Study, batch.study_id)
    ledger = journal.ledger(session, study.workspace_id)
    record = ledger.studies.get(study.optuna_study_id)
    # Those who hold a lease and have not asked for their trial yet will do so.
    unbound = session.scalars(
        select(func.count())
        .select_from(Lease)
        .join(TrialBatch, TrialBatch.id == Lease.batch_id)
        .where(
            TrialBatch.study_id == study.id,
            Lease.state == leases.LEASED,
            Lease.trial_id.is_(None),
        )
    ).one()
    if record is None:
        return True
    return len(record.trial_ids) - len(record.waiting) + unbound >= trial_limit

"""Running the parameters of a failed trial again, in a trial of its own as Optuna has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from optuna.trial import TrialState
from sqlalchemy import select

from aiauto.server.database.models import Retry, now
from aiauto.server.journal.entries import Operation

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.journal import Journal, TrialChange
    from aiauto.server.journal.entries import Entry

# Names the server in the entries that it appends itself.
SERVER_WORKER_ID: Final = "aiauto-server"


def enqueue(
    session: Session,
    journal: Journal,
    workspace_id: int,
    batch_id: int,
    failed: TrialChange,
    attempt: int,
) -> None:
    """Put a trial with the parameters of one that failed in front of all others.

    It carries the system attribute ``failed_trial``, as Optuna's `RetryFailedTrialCallback` has it.

    Args:
        session: The unit's session.
        journal: The journals.
        workspace_id: The workspace.
        batch_id: The batch that shall run it.
        failed: The trial that failed.
        attempt: How often its parameters were run, as far as that counts.
    """
    journal.append(session, workspace_id, [_waiting_entry(failed)])
    study = journal.ledger(session, workspace_id).studies[failed.study_id]
    trial_id = study.trial_ids[-1]
    session.add(Retry(batch_id=batch_id, trial_id=trial_id, attempt=attempt + 1))


def attempt_of(session: Session, batch_id: int, trial_id: int) -> int:
    """How often the parameters of a trial were run, this time included."""
    retry = session.get(Retry, (batch_id, trial_id))
    return 1 if retry is None else retry.attempt


def give_up_waiting(session: Session, journal: Journal, workspace_id: int, batch_id: int) -> None:
    """End the trials of a batch that wait to be run again and never will be."""
    waiting = session.scalars(select(Retry.trial_id).where(Retry.batch_id == batch_id)).all()
    if not waiting:
        return
    trials = journal.ledger(session, workspace_id).trials
    entries = [
        failed_entry(trial_id)
        for trial_id in waiting
        if trials[trial_id].state == TrialState.WAITING
    ]
    journal.append(session, workspace_id, entries)


def failed_entry(trial_id: int) -> Entry:
    """The entry that makes a trial FAIL."""
    return {
        "op_code": int(Operation.SET_TRIAL_STATE_VALUES),
        "worker_id": SERVER_WORKER_ID,
        "trial_id": trial_id,
        "state": int(TrialState.FAIL),
        "values": None,
        "datetime_complete": now().isoformat(timespec="microseconds"),
    }


def _waiting_entry(failed: TrialChange) -> Entry:
    return {
        "op_code": int(Operation.CREATE_TRIAL),
        "worker_id": SERVER_WORKER_ID,
        "study_id": failed.study_id,
        "state": int(TrialState.WAITING),
        "datetime_start": None,
        "params": {},
        "distributions": {},
        "user_attrs": {},
        "system_attrs": {"fixed_params": failed.params, "failed_trial": failed.number},
        "intermediate_values": {},
    }

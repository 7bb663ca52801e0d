"""Results of trials that were taken from their workers: set aside, where a person finds them.

`heartbeats` says when that comes to pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.trial import TrialState

from aiauto.server.batches import leases
from aiauto.server.database.models import Lease, TrialBatch
from aiauto.server.journal.entries import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.aiauto import v1
    from sqlalchemy.orm import Session

    from aiauto.server.journal.entries import Entry


def set_aside(
    session: Session, worker_id: int, ref: v1.LeaseRef | None, entries: Sequence[Entry]
) -> bool:
    """Keep a result that came too late to count where a person finds it: with the trial's error.

    Args:
        session: The unit's session.
        worker_id: The worker that reports it.
        ref: The lease that it lost.
        entries: What it would have appended.

    Returns:
        Whether there is anything new to see.
    """
    lease_id = leases.id_of(ref)
    lease = None if lease_id is None else session.get(Lease, lease_id)
    if lease is None or lease.worker_id != worker_id or not lease.reason:
        return False
    for entry in entries:
        if entry["op_code"] != Operation.SET_TRIAL_STATE_VALUES:
            continue
        state = TrialState(entry["state"])
        if entry["trial_id"] != lease.trial_id or state not in {
            TrialState.COMPLETE,
            TrialState.PRUNED,
        }:
            continue
        result = state.name if entry.get("values") is None else f"{state.name}, {entry['values']}"
        note = f"Trial {lease.trial_number} ended all the same, too late to count: {result}."
        if note not in lease.error:  # the call may come again
            lease.error = leases.shortened(f"{lease.error}\n\n{note}")
            batch = session.get_one(TrialBatch, lease.batch_id, with_for_update=True)
            leases.note_error(batch, lease.error)
            return True
    return False

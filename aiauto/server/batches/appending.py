"""Appending to a journal, with what that makes of leases and counts: one transaction for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from aiauto.errors import InvalidArgumentError
from aiauto.server.batches import acquiring, leases, stopping
from aiauto.server.batches.acquiring import FirstEntry
from aiauto.server.batches.reach import check_reach
from aiauto.server.journal.entries import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.aiauto import v1
    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.batches.heartbeats import Heartbeats
    from aiauto.server.batches.records import Acquired
    from aiauto.server.database.models import Lease
    from aiauto.server.journal import Journal
    from aiauto.server.journal.entries import Entry
    from aiauto.server.journal.journal import Slice


@dataclass(frozen=True)
class Appended:
    """What came of appending.

    Attributes:
        new: What is new to the caller.
        own_position: Where its own entries belong that were left out of that; None where none were.
        moved: The batches whose counts have moved.
        acquired: What came of asking for the next lease; None where that was not asked for, or the
            one before has not ended.
    """

    new: Slice
    own_position: int | None
    moved: set[int]
    acquired: Acquired | None


@dataclass(frozen=True)
class Append:
    """What to append, read and checked.

    Attributes:
        workspace_id: The workspace.
        request: As it came.
        entries: Its entries.
        first: What it wants to be appended under its next lease.
    """

    workspace_id: int
    request: v1.AppendEntriesRequest
    entries: Sequence[Entry]
    first: FirstEntry | None


def checked(journal: Journal, workspace_id: int, request: v1.AppendEntriesRequest) -> Append:
    """Read what somebody wants to append.

    Raises:
        InvalidArgumentError: An entry can't be replayed, or is none to begin with.
    """
    entries = journal.parse(request.entries)
    if not request.begin_next:
        return Append(workspace_id, request, entries, None)
    (first,) = journal.parse([request.begin_next])
    running = first.get("state", TrialState.RUNNING) == TrialState.RUNNING
    if first["op_code"] != Operation.CREATE_TRIAL or not running:
        raise InvalidArgumentError("begin_next: it must be an entry that creates a running trial.")
    return Append(
        workspace_id, request, entries, FirstEntry(workspace_id, first, request.begin_next)
    )


def append(
    session: Session,
    journal: Journal,
    heartbeats: Heartbeats,
    wanted: Append,
    *,
    worker: WorkerIdentity | None,
    is_new: bool = False,
    draining: bool = False,
) -> Appended:
    """Append entries, in a unit of `Database.write`.

    Args:
        session: The unit's session.
        journal: The journals.
        heartbeats: Which workers may be dead.
        wanted: What to append.
        worker: The worker that appends; None for a user's own program.
        is_new: Whether to take it for new without looking, as nearly all is. What is not fails.
        draining: Whether no further trial shall begin before the server is started again.

    Raises:
        IntegrityError: It is not new.
        NotFoundError: A study is not there.
        AbortedError: The worker's lease was lost.
        FailedPreconditionError: The entries are not what a worker may append.
        PermissionDeniedError: They are about another study than the worker's.
    """
    workspace_id, request = wanted.workspace_id, wanted.request
    # Before the batch is, as wherever both are locked.
    ledger = journal.ledger(session, workspace_id)
    lease = None
    if worker is not None:
        lease = leases.of_worker(session, worker.worker_id, request.lease)
        check_reach(ledger, wanted.entries, worker.optuna_study_id)
        if wanted.first is not None:
            check_reach(ledger, [wanted.first.entry], worker.optuna_study_id)
    was_held = _is_held(lease)
    position = ledger.length
    changes = journal.append(
        session,
        workspace_id,
        wanted.entries,
        request.entries,
        request.request_id or None,
        is_new=is_new,
    )
    moved = leases.record(
        session, journal, workspace_id, changes or (), lease=lease, error=request.error
    )
    for batch_id in moved:
        stopping.stop_stagnant(session, journal, leases.locked_batch(session, batch_id))
    acquired = None
    if worker is not None and request.acquire_next and not _is_held(lease):
        acquired = acquiring.acquire(
            session,
            journal,
            worker.worker_id,
            heartbeats,
            holds_none=was_held,
            first=wanted.first,
            draining=draining,
        )
    new = journal.read_newest(session, workspace_id, request.position)
    begun = request.begin_next if acquired is not None and acquired.begun else ""
    start = position - request.position
    is_left_out = request.leave_out_own and _leave_out(new.entries, start, request.entries, begun)
    return Appended(new, position if is_left_out else None, moved, acquired)


def _leave_out(texts: list[str], start: int, own: list[str], begun: str) -> bool:
    """Take out of an answer what its caller has sent, as far as that is where it should be.

    It is not where a call was sent again, or a long answer is cut.

    Args:
        texts: The answer.
        start: Where in it the caller's own entries begin.
        own: They.
        begun: What created its next trial, which comes last; empty where nothing did.

    Returns:
        Whether they were taken out.
    """
    if texts[start : start + len(own)] != own or (begun and texts[-1:] != [begun]):
        return False
    if begun:
        texts.pop()
    del texts[start : start + len(own)]
    return True


def _is_held(lease: Lease | None) -> bool:
    return lease is not None and lease.state == leases.LEASED

"""What a worker goes through, in units of `Database.write`: entered, up, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from aiauto.server.auth import new_token
from aiauto.server.batches import leases, slots
from aiauto.server.batches.records import WorkerRecord, WorkerTicket
from aiauto.server.database.models import Lease, Study, Token, TrialBatch, Worker, Workspace, now

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.journal import Journal

PENDING = "Pending"
ENDED = ("Succeeded", "Failed")
# Of a worker that ended as if all were done, with a trial in its hands.
LEFT_ITS_TRIAL = "LeftItsTrial"
# Of one that was killed for its memory, as Kubernetes calls it.
OUT_OF_MEMORY = "OOMKilled"


def create(session: Session, batch: TrialBatch, *, gpu_share: str | None = None) -> WorkerTicket:
    """Enter a new worker of a batch, and give it a token."""
    worker = enter(session, batch, gpu_share=gpu_share)
    study = session.get_one(Study, batch.study_id)
    workspace = session.get_one(Workspace, study.workspace_id)
    token = new_token(session, workspace.user_id, worker_id=worker.id)
    return WorkerTicket(worker.name, token, worker.ordinal, workspace.id)


def enter(
    session: Session, batch: TrialBatch, *, name: str = "", gpu_share: str | None = None
) -> Worker:
    """Enter a new worker of a batch, by the name that it has, or else one that is made here."""
    study = session.get_one(Study, batch.study_id, with_for_update=True)
    ordinal = study.worker_count
    study.worker_count += 1
    worker = Worker(
        name=name or f"{batch.name}-{ordinal}",
        batch_id=batch.id,
        ordinal=ordinal,
        slot=slots.of_pod(name) if name else slots.free(session, batch, gpu_share),
        gpu_share=gpu_share,
        phase=PENDING,
        reason="",
        message="",
        host_name="",
    )
    session.add(worker)
    session.flush()
    return worker


def named(session: Session, worker_name: str) -> Worker | None:
    """A worker by its name."""
    return session.scalar(select(Worker).where(Worker.name == worker_name))


def register(
    session: Session, worker_id: int, *, python_version: str, host_name: str, process_id: int
) -> None:
    """Note that a worker is up."""
    worker = session.get_one(Worker, worker_id)
    worker.phase, worker.reason, worker.message = "Running", "", ""
    worker.python_version, worker.host_name = python_version[:64], host_name[:255]
    worker.process_id = process_id
    worker.started_at = worker.started_at or now()
    batch = session.get_one(TrialBatch, worker.batch_id)
    batch.started_at = batch.started_at or now()


def end(
    session: Session,
    journal: Journal,
    worker: Worker,
    *,
    exit_code: int | None,
    reason: str,
    message: str,
    draining: bool = False,
) -> None:
    """Note a worker's end. A lease that it still holds fails, and its token is void."""
    lease_reason = leases.Reason.WORKER_ENDED
    if draining:
        lease_reason = leases.Reason.SERVER_STOPPED
    elif reason == OUT_OF_MEMORY:
        lease_reason = leases.Reason.OUT_OF_MEMORY
    held = leases.held(session, Lease.worker_id == worker.id)
    worker.phase = "Succeeded" if exit_code == 0 and not held else "Failed"
    worker.exit_code = exit_code
    worker.reason = LEFT_ITS_TRIAL if exit_code == 0 and held else reason
    # One that had nothing left to do has failed at nothing.
    worker.message = leases.shortened(message) if worker.phase == "Failed" else ""
    worker.ended_at = now()
    for lease in held:
        leases.fail(session, journal, lease, lease_reason, message)
    session.execute(delete(Token).where(Token.worker_id == worker.id))


def live(session: Session, batch_name: str) -> list[WorkerRecord]:
    """The workers of a batch that have not ended as far as is known, oldest first."""
    query = (
        select(Worker)
        .join(TrialBatch, TrialBatch.id == Worker.batch_id)
        .where(TrialBatch.name == batch_name, Worker.phase.not_in(ENDED))
    )
    return [
        WorkerRecord(worker.name, worker.process_id, worker.started_at, worker.gpu_share or "")
        for worker in session.scalars(query.order_by(Worker.id))
    ]


def left(session: Session) -> list[str]:
    """The names of batches that are over, and have workers that have not ended as far as is known.

    Workers end after their batch: nobody sees it where the server is killed in between.
    """
    living = select(Worker.batch_id).where(Worker.phase.not_in(ENDED))
    query = select(TrialBatch.name).where(
        TrialBatch.finished_at.is_not(None), TrialBatch.id.in_(living)
    )
    return list(session.scalars(query.order_by(TrialBatch.id)))


def has_leased(session: Session, worker_name: str) -> bool:
    """Whether a worker ever got as far as to acquire a lease."""
    query = (
        select(func.count())
        .select_from(Lease)
        .join(Worker, Worker.id == Lease.worker_id)
        .where(Worker.name == worker_name)
    )
    return bool(session.scalar(query))


def unresponsive(session: Session, batch_name: str) -> list[str]:
    """The workers whose lease was taken from them, and who have not asked for another since."""
    newest = select(func.max(Lease.id)).group_by(Lease.worker_id)
    query = (
        select(Worker.name)
        .join(TrialBatch, TrialBatch.id == Worker.batch_id)
        .join(Lease, Lease.worker_id == Worker.id)
        .where(
            TrialBatch.name == batch_name,
            Worker.phase.not_in(ENDED),
            Worker.is_idle.is_(False),
            Lease.id.in_(newest),
            Lease.state != leases.LEASED,
            Lease.reason.in_([leases.Reason.LOST.value, leases.Reason.TIMEOUT.value]),
        )
    )
    return list(session.scalars(query))

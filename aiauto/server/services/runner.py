"""RunnerService: what workers call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import RunnerServiceBase

from aiauto.errors import InvalidArgumentError
from aiauto.server.auth import current_worker
from aiauto.server.batches import StopReason
from aiauto.server.database.models import BatchObjective, Study, TrialBatch, Worker
from aiauto.server.services.calls import Calls, check_request_id

if TYPE_CHECKING:
    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

    from aiauto.server.batches import Acquired
    from aiauto.server.parts import Parts
    from aiauto.server.worker_logs import WorkerLogs

# Why a worker, and not the server, may find that its batch shall end.
WORKERS_REASONS = (StopReason.EXHAUSTED, StopReason.BY_OBJECTIVE)
# Where all leases are given away, and one may come back.
RETRY_AFTER_SECONDS = 1.0


def acquired_lease(acquired: Acquired, ttl: float) -> v1.AcquireLeaseResponse:
    """What came of asking for a lease, as it is told to the worker."""
    if acquired.lease_id is None:
        return v1.AcquireLeaseResponse(
            finished=not acquired.may_come, retry_after_seconds=RETRY_AFTER_SECONDS
        )
    lease = v1.Lease(lease_id=str(acquired.lease_id), fence=acquired.fence, ttl_seconds=ttl)
    return v1.AcquireLeaseResponse(lease=lease)


class RunnerService(Calls, RunnerServiceBase):
    """Gives workers their work and takes what they report."""

    def __init__(self, parts: Parts, logs: WorkerLogs) -> None:
        """Answer workers.

        Args:
            parts: What to work with.
            logs: What workers printed.
        """
        super().__init__(parts)
        self._logs = logs

    async def register_worker(
        self, request: v1.RegisterWorkerRequest, context: Context
    ) -> v1.RegisterWorkerResponse:
        """Note that a worker is up, and answer with what it shall run."""
        del context
        identity = current_worker()
        batches = self._parts.batches
        await batches.work.register(
            identity,
            python_version=request.python_version,
            host_name=request.host_name,
            process_id=request.process_id,
        )

        def unit(session: Session) -> v1.RegisterWorkerResponse:
            worker = session.get_one(Worker, identity.worker_id)
            batch = session.get_one(TrialBatch, identity.batch_id)
            objective = session.get_one(BatchObjective, identity.batch_id)
            study = session.get_one(Study, batch.study_id)
            spec = v1.StudySpec(
                study_name=study.name,
                sampler_json=study.sampler_json,
                pruner_json=study.pruner_json,
            )
            directions = study.directions.split(",")
            if len(directions) == 1:
                spec.direction = directions[0]
            else:
                spec.directions = v1.DirectionList(values=directions)
            return v1.RegisterWorkerResponse(
                worker_name=worker.name,
                worker_ordinal=worker.ordinal,
                trialbatch_name=batch.name,
                batch=v1.TrialBatchSpec.parse(batch.spec),
                objective=v1.ObjectivePayload.parse(objective.payload),
                study=spec,
                heartbeat_interval_seconds=batches.heartbeat_interval,
            )

        return await self._parts.database.read(unit)

    async def acquire_lease(
        self, request: v1.AcquireLeaseRequest, context: Context
    ) -> v1.AcquireLeaseResponse:
        """Give a worker the right to run one trial."""
        del context
        batches = self._parts.batches
        acquired = await batches.work.acquire(current_worker(), request.trial_limit)
        return acquired_lease(acquired, batches.lease_ttl)

    async def heartbeat(
        self, request: v1.HeartbeatRequest, context: Context
    ) -> v1.HeartbeatResponse:
        """Note a sign of life."""
        del context
        lost, over = await self._parts.batches.work.heartbeat(current_worker(), request.lease)
        return v1.HeartbeatResponse(lease_lost=lost, batch_over=over)

    async def fail_lease(
        self, request: v1.FailLeaseRequest, context: Context
    ) -> v1.FailLeaseResponse:
        """Give a lease up as failed."""
        del context
        await self._parts.batches.work.fail_lease(
            current_worker(), request.lease, request.error, stopped=request.worker_stopped
        )
        return v1.FailLeaseResponse()

    async def fail_worker(
        self, request: v1.FailWorkerRequest, context: Context
    ) -> v1.FailWorkerResponse:
        """End a batch that no worker can run."""
        del context
        if not request.error:
            raise InvalidArgumentError("error: say why the batch can't be run.")
        await self._parts.batches.work.fail_worker(current_worker(), request.error)
        return v1.FailWorkerResponse()

    async def stop_batch(
        self, request: v1.StopBatchRequest, context: Context
    ) -> v1.StopBatchResponse:
        """Let no further trial of the batch begin."""
        del context
        reasons = {reason.value: reason for reason in WORKERS_REASONS}
        if request.reason not in reasons:
            raise InvalidArgumentError(
                f"reason is {request.reason[:50]!r}: it must be one of {', '.join(reasons)}."
            )
        await self._parts.batches.work.stop(current_worker(), reasons[request.reason])
        return v1.StopBatchResponse()

    async def append_logs(
        self, request: v1.AppendLogsRequest, context: Context
    ) -> v1.AppendLogsResponse:
        """Keep lines that a worker printed."""
        del context
        identity = current_worker()
        check_request_id(request.request_id)
        await self._logs.append(identity, request)
        self._parts.batches.changes.announce(identity.batch_id)
        return v1.AppendLogsResponse()

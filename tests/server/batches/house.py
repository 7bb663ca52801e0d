"""A batch in a database, and workers who do with it what a test says."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from aiauto.server.auth import WorkerIdentity
from aiauto.server.batches import Acquired, Batches
from aiauto.server.batches.heartbeats import LONGEST_GAP_SECONDS
from aiauto.server.database import Database
from aiauto.server.database.models import Study, TrialBatch, Worker, now
from aiauto.server.journal import Journal
from tests.server.conftest import new_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from aiauto.server.batches.appending import Appended

COMPLETE, PRUNED, FAIL = 1, 2, 3
BATCH = "a-batch"
TTL, GRACE = 60.0, 30.0


def create_trial() -> dict[str, object]:
    return {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": now().isoformat()}


def end_trial(trial_id: int, state: int, *returned: float) -> dict[str, object]:
    values = list(returned or [1.0]) if state == COMPLETE else None
    entry: dict[str, object] = {"op_code": 6, "worker_id": "w", "trial_id": trial_id}
    return {**entry, "state": state, "values": values, "datetime_complete": now().isoformat()}


def run_trial(trial_id: int) -> dict[str, object]:
    entry: dict[str, object] = {"op_code": 6, "worker_id": "w", "trial_id": trial_id}
    return {**entry, "state": 0, "values": None, "datetime_start": now().isoformat()}


def set_param(trial_id: int, value: float) -> dict[str, object]:
    distribution = distribution_to_json(FloatDistribution(0, 10))
    entry: dict[str, object] = {"op_code": 5, "worker_id": "w", "trial_id": trial_id}
    return {
        **entry,
        "param_name": "x",
        "param_value_internal": value,
        "distribution": distribution,
    }


class House:
    """A database with one study and one batch of it."""

    def __init__(
        self,
        url: str,
        n_trials: int,
        *,
        max_retries: int = 0,
        trial_timeout: float | None = None,
        patience: int = 0,
        directions: Sequence[str] = ("minimize",),
    ) -> None:
        self.url = url
        self.n_trials = n_trials
        self.max_retries = max_retries
        self.trial_timeout = trial_timeout
        self.patience = patience
        self.directions = directions
        self.time = 0.0

    async def open(self) -> None:
        self.database = Database(self.url)
        await self.database.open()
        self.journal = Journal(self.database)
        self.batches = Batches(
            self.database,
            self.journal,
            lease_ttl=TTL,
            lease_grace=GRACE,
            clock=lambda: self.time,
        )

    async def spend(self, seconds: float, *lively: tuple[WorkerIdentity, v1.LeaseRef]) -> None:
        """Let time pass, in which the server listens and these workers are heard of."""
        whole, rest = divmod(seconds, LONGEST_GAP_SECONDS)
        for step in [*[LONGEST_GAP_SECONDS] * int(whole), rest]:
            self.time += step
            self.batches.work._heartbeats.listen()
        for worker, ref in lively:
            await self.batches.work.heartbeat(worker, ref)
        await self.batches.expiry.leases()

    async def sleep(self, seconds: float) -> None:
        """Let time pass, in which the server hears nobody: it is stopped, or its database away."""
        self.time += seconds
        await self.batches.expiry.leases()

    async def fill(self) -> None:
        def unit(session: Session) -> int:
            workspace = new_workspace(session)
            numbers = [int(StudyDirection[one.upper()]) for one in self.directions]
            entry = {"op_code": 0, "worker_id": "s", "study_name": "study", "directions": numbers}
            self.journal.append(session, workspace.id, [entry])
            study = Study(
                workspace_id=workspace.id,
                name="study",
                optuna_study_id=0,
                directions=",".join(self.directions),
                sampler_json="",
                pruner_json="",
            )
            session.add(study)
            session.flush()
            batch = TrialBatch(
                name=BATCH,
                study_id=study.id,
                spec=b"",
                n_trials=self.n_trials,
                parallelism=2,
                max_retries=self.max_retries,
                trial_timeout=self.trial_timeout,
                patience=self.patience,
            )
            session.add(batch)
            return workspace.id

        self.workspace_id = await self.database.write(unit)

    async def worker(self) -> WorkerIdentity:
        ticket = await self.batches.create_worker(BATCH)

        def unit(session: Session) -> WorkerIdentity:
            row = session.scalars(select(Worker).where(Worker.name == ticket.worker_name)).one()
            return WorkerIdentity(row.id, row.batch_id, optuna_study_id=0)

        return await self.database.read(unit)

    async def acquire(self, worker: WorkerIdentity) -> v1.LeaseRef | None:
        acquired = await self.batches.work.acquire(worker)
        if acquired.lease_id is None:
            return None
        return v1.LeaseRef(lease_id=str(acquired.lease_id), fence=acquired.fence)

    async def send(
        self,
        worker: WorkerIdentity | None,
        ref: v1.LeaseRef | None,
        *entries: dict[str, object],
        error: str = "",
        request_id: str = "",
        begin: dict[str, object] | None = None,
        acquire_next: bool = False,
        leave_out_own: bool = False,
        position: int = 0,
    ) -> Appended:
        request = v1.AppendEntriesRequest(
            entries=[json.dumps(entry) for entry in entries],
            position=position,
            request_id=request_id or str(uuid.uuid4()),
            lease=ref,
            error=error,
            acquire_next=acquire_next,
            begin_next="" if begin is None else json.dumps(begin),
            leave_out_own=leave_out_own,
        )
        return await self.batches.work.append(self.workspace_id, request, worker)

    async def append(
        self,
        worker: WorkerIdentity | None,
        ref: v1.LeaseRef | None,
        *entries: dict[str, object],
        error: str = "",
        request_id: str = "",
    ) -> list[dict[str, object]]:
        appended = await self.send(worker, ref, *entries, error=error, request_id=request_id)
        return [json.loads(text) for text in appended.new.entries]

    async def append_and_acquire(
        self,
        worker: WorkerIdentity,
        ref: v1.LeaseRef,
        entry: dict[str, object],
        request_id: str = "",
        begin: dict[str, object] | None = None,
    ) -> Acquired | None:
        appended = await self.send(
            worker, ref, entry, error="why", request_id=request_id, begin=begin, acquire_next=True
        )
        return appended.acquired

    async def trials(self, *states: TrialState) -> list[FrozenTrial]:
        storage = self.journal.storage(self.workspace_id)
        return await asyncio.to_thread(storage.get_all_trials, 0, states=states or None)

    async def begin_trial(self, worker: WorkerIdentity, ref: v1.LeaseRef) -> int:
        for waiting in await self.trials(TrialState.WAITING):
            # As Optuna does: what waits is run before anything new.
            await self.append(worker, ref, run_trial(waiting._trial_id))
            return waiting._trial_id
        entries = await self.append(worker, ref, create_trial())
        return sum(entry["op_code"] == 4 for entry in entries) - 1

    async def batch(self) -> TrialBatch:
        return await self.database.read(
            lambda session: session.scalars(
                select(TrialBatch).where(TrialBatch.name == BATCH)
            ).one()
        )

    async def counts(self) -> tuple[int, int, int, int]:
        batch = await self.batch()
        return (
            batch.count_active,
            batch.count_succeeded,
            batch.count_pruned,
            batch.count_failed,
        )


async def held_lease(house: House, worker: WorkerIdentity) -> v1.LeaseRef:
    ref = await house.acquire(worker)
    assert ref is not None
    return ref

"""Trials by GPU model, on the databases that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from sqlalchemy import select

from aiauto.server.auth import WorkerIdentity
from aiauto.server.batches import Batches
from aiauto.server.database import Database
from aiauto.server.database.models import Study, TrialBatch, User, Worker, Workspace
from aiauto.server.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.orm import Session


class House:
    """A batch of three trials, one of them on a 3090; each may be run twice."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.batches = Batches(database, Journal(database))

    async def fill(self) -> None:
        spec = v1.TrialBatchSpec(n_trials=3, use_gpu=True, gpu_model={"gpu-3090": 1})

        def unit(session: Session) -> None:
            user = User(name="someone")
            session.add(user)
            session.flush()
            sizes = dict.fromkeys(("storage_size", "artifact_store_size", "shared_cache_size"), "")
            workspace = Workspace(user_id=user.id, name="w", shared_cache_dir="/mnt", **sizes)
            session.add(workspace)
            session.flush()
            study = Study(workspace_id=workspace.id, name="study", optuna_study_id=0)
            study.directions = study.sampler_json = study.pruner_json = ""
            session.add(study)
            session.flush()
            batch = TrialBatch(name="batch", study_id=study.id, max_retries=1)
            batch.spec, batch.n_trials, batch.parallelism = bytes(spec), 3, 2
            session.add(batch)

        await self.database.write(unit)

    async def worker(self, share: str) -> WorkerIdentity:
        ticket = await self.batches.create_worker("batch", gpu_share=share)

        def unit(session: Session) -> WorkerIdentity:
            row = session.scalars(select(Worker).where(Worker.name == ticket.worker_name)).one()
            return WorkerIdentity(row.id, row.batch_id, optuna_study_id=0)

        return await self.database.read(unit)


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    database = Database(database_url)
    await database.open()
    house = House(database)
    await house.fill()
    yield house
    await database.close()


async def test_a_worker_runs_the_trials_of_its_share(house: House) -> None:
    first, second, other = [await house.worker(share) for share in ("gpu-3090", "gpu-3090", "")]
    batches = house.batches
    assert await batches.gpu_shares("batch") == {"gpu-3090": 1, "": 2}
    held = await batches.work.acquire(first)
    assert held.lease_id is not None
    # Asked again it is given the same.
    assert (await batches.work.acquire(first)).lease_id == held.lease_id
    # The one trial of the share may have to be run again.
    waiting = await batches.work.acquire(second)
    assert (waiting.lease_id, waiting.may_come) == (None, True)
    assert (await batches.work.acquire(other)).lease_id is not None
    assert await batches.gpu_shares("batch") == {"gpu-3090": 1, "": 2}

    ref = v1.LeaseRef(lease_id=str(held.lease_id), fence=held.fence)
    await batches.work.fail_lease(first, ref, "the first time")
    assert await batches.gpu_shares("batch") == {"gpu-3090": 1, "": 2}
    again = await batches.work.acquire(second)
    assert again.lease_id is not None
    ref = v1.LeaseRef(lease_id=str(again.lease_id), fence=again.fence)
    await batches.work.fail_lease(second, ref, "the second time")
    await batches.work.fail_lease(second, ref, "the second time")


async def test_a_worker_whose_share_is_done_goes(house: House) -> None:
    worker = await house.worker("gpu-3090")
    for _ in range(2):
        lease = await house.batches.work.acquire(worker)
        if lease.lease_id is None:
            break
        ref = v1.LeaseRef(lease_id=str(lease.lease_id), fence=lease.fence)
        await house.batches.work.fail_lease(worker, ref, "it fails")
    await house.batches.cancel("batch")
    assert await house.batches.gpu_shares("batch") == {"gpu-3090": 0, "": 0}
    last = await house.batches.work.acquire(worker)
    assert (last.lease_id, last.may_come) == (None, False)


async def test_what_a_batch_waits_for_is_told_until_it_is_over(house: House) -> None:
    async def told() -> str:
        return await house.database.read(
            lambda session: session.scalars(select(TrialBatch.waits_for)).one()
        )

    await house.batches.waits_for("batch", "Waits for GPUs.")
    assert await told() == "Waits for GPUs."
    await house.batches.waits_for("batch", "")
    assert await told() == ""
    await house.batches.waits_for("no such batch", "Waits for GPUs.")

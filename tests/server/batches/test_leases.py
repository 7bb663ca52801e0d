"""Whatever happens to workers, the counts of a batch add up to its trials."""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from aiauto.errors import AbortedError, FailedPreconditionError
from aiauto.server.auth import WorkerIdentity
from aiauto.server.batches import Batches
from aiauto.server.database import Database
from aiauto.server.database.models import Lease, Study, TrialBatch, User, Worker, Workspace, now
from aiauto.server.journal import Journal
from aiauto.server.messages import batch_phase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.orm import Session

COMPLETE, PRUNED, FAIL = 1, 2, 3
BATCH = "a-batch"


def create_trial() -> dict[str, object]:
    return {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": now().isoformat()}


def end_trial(trial_id: int, state: int) -> dict[str, object]:
    values = [1.0] if state == COMPLETE else None
    entry: dict[str, object] = {"op_code": 6, "worker_id": "w", "trial_id": trial_id}
    return {**entry, "state": state, "values": values, "datetime_complete": now().isoformat()}


class House:
    """A database with one study and one batch of it."""

    def __init__(self, folder: Path, n_trials: int, lease_ttl: float = 60.0) -> None:
        self.url = f"sqlite:///{folder / 'test.sqlite3'}"
        self.n_trials = n_trials
        self.lease_ttl = lease_ttl

    async def open(self) -> None:
        self.database = Database(self.url)
        await self.database.open()
        self.journal = Journal(self.database)
        self.batches = Batches(self.database, self.journal, lease_ttl=self.lease_ttl)

    async def fill(self) -> None:
        def unit(session: Session) -> int:
            user = User(name="someone")
            session.add(user)
            session.flush()
            workspace = Workspace(
                user_id=user.id,
                name="workspace",
                storage_size="1Gi",
                artifact_store_size="1Gi",
                shared_cache_dir="/mnt",
                shared_cache_size="1Gi",
            )
            session.add(workspace)
            session.flush()
            entry = {"op_code": 0, "worker_id": "s", "study_name": "study", "directions": [1]}
            self.journal.append(session, workspace.id, [entry])
            study = Study(
                workspace_id=workspace.id,
                name="study",
                optuna_study_id=0,
                directions="minimize",
                sampler_json="",
                pruner_json="",
            )
            session.add(study)
            session.flush()
            batch = TrialBatch(
                name=BATCH,
                study_id=study.id,
                spec=b"",
                objective=b"",
                n_trials=self.n_trials,
                parallelism=2,
            )
            session.add(batch)
            return workspace.id

        self.workspace_id = await self.database.write(unit)

    async def worker(self) -> WorkerIdentity:
        ticket = await self.batches.create_worker(BATCH)

        def unit(session: Session) -> WorkerIdentity:
            row = session.scalars(select(Worker).where(Worker.name == ticket.worker_name)).one()
            return WorkerIdentity(row.id, row.batch_id)

        return await self.database.read(unit)

    async def acquire(self, worker: WorkerIdentity) -> v1.LeaseRef | None:
        acquired = await self.batches.acquire(worker)
        return None if acquired is None else v1.LeaseRef(lease_id=acquired[0], fence=acquired[1])

    async def append(
        self,
        worker: WorkerIdentity | None,
        ref: v1.LeaseRef | None,
        *entries: dict[str, object],
        error: str = "",
        request_id: str = "",
    ) -> list[dict[str, object]]:
        request = v1.AppendEntriesRequest(
            entries=[json.dumps(entry) for entry in entries],
            request_id=request_id or str(uuid.uuid4()),
            lease=ref,
            error=error,
        )
        new = await self.batches.append(self.workspace_id, request, worker)
        return [json.loads(text) for text in new.entries]

    async def begin_trial(self, worker: WorkerIdentity, ref: v1.LeaseRef) -> int:
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


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, n_trials=3)
    await house.open()
    await house.fill()
    yield house
    await house.database.close()


async def test_a_lease_from_beginning_to_end(house: House) -> None:
    worker = await house.worker()
    for state in (COMPLETE, PRUNED, FAIL):
        ref = await house.acquire(worker)
        assert ref is not None
        assert await house.acquire(worker) == ref, "a worker holds one lease"
        trial_id = await house.begin_trial(worker, ref)
        assert (await house.counts())[0] == 1
        await house.append(worker, ref, end_trial(trial_id, state), error="because")
    assert await house.acquire(worker) is None
    assert await house.counts() == (0, 1, 1, 1)
    batch = await house.batch()
    assert batch.is_over
    assert batch.last_error == "because"
    assert batch_phase(batch) == "Succeeded"


async def test_no_more_leases_than_trials(house: House) -> None:
    workers = [await house.worker() for _ in range(5)]
    held = await asyncio.gather(*(house.acquire(worker) for worker in workers))
    assert sum(ref is not None for ref in held) == 3


async def test_a_dead_worker_fails_its_trial(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    trial_id = await house.begin_trial(worker, ref)
    await house.batches.worker_exited(
        "a-batch-0", exit_code=-9, reason="Killed", message="It was killed."
    )
    assert await house.counts() == (0, 0, 0, 1)
    storage = house.journal.storage(house.workspace_id)
    trial = await asyncio.to_thread(storage.get_trial, trial_id)
    assert trial.state.name == "FAIL"
    assert (await house.batch()).last_error == "It was killed."
    with pytest.raises(AbortedError):
        await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    assert await house.counts() == (0, 0, 0, 1), "a late result moves nothing"


async def test_a_silent_worker_counts_as_dead(tmp_path: Path) -> None:
    house = House(tmp_path, n_trials=2, lease_ttl=0.1)
    await house.open()
    await house.fill()
    silent, lively = await house.worker(), await house.worker()
    lost, kept = await house.acquire(silent), await house.acquire(lively)
    for _ in range(4):
        await asyncio.sleep(0.05)
        assert await house.batches.heartbeat(lively, kept) == (False, False)
        await house.batches.expire_leases()
    assert await house.counts() == (1, 0, 0, 1)
    assert await house.batches.heartbeat(silent, lost) == (True, False)
    await house.database.close()


async def test_what_is_sent_twice_counts_once(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    for _ in range(2):
        entries = await house.append(worker, ref, create_trial(), request_id="the same")
        assert sum(entry["op_code"] == 4 for entry in entries) == 1
    for _ in range(2):
        await house.append(worker, ref, end_trial(0, COMPLETE), request_id="the same end")
    assert await house.counts() == (0, 1, 0, 0)


async def test_a_worker_may_not_touch_what_is_not_its_own(house: House) -> None:
    one, two = await house.worker(), await house.worker()
    ref, other = await house.acquire(one), await house.acquire(two)
    assert ref is not None
    assert other is not None
    trial_id = await house.begin_trial(one, ref)
    with pytest.raises(FailedPreconditionError, match="one trial a lease"):
        await house.append(one, ref, create_trial())
    with pytest.raises(FailedPreconditionError, match="trial of another"):
        await house.append(two, other, end_trial(trial_id, COMPLETE))
    with pytest.raises(AbortedError):
        await house.append(two, ref, create_trial())
    with pytest.raises(FailedPreconditionError, match="name the lease"):
        await house.append(two, None, create_trial())
    # Nothing of what was refused is in the journal.
    storage = house.journal.storage(house.workspace_id)
    trials = await asyncio.to_thread(storage.get_all_trials, 0)
    assert [trial.state.name for trial in trials] == ["RUNNING"]
    assert await house.counts() == (2, 0, 0, 0)


async def test_a_user_may_end_a_running_trial(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    trial_id = await house.begin_trial(worker, ref)
    await house.append(None, None, end_trial(trial_id, COMPLETE))
    assert await house.counts() == (0, 1, 0, 0)
    assert await house.batches.heartbeat(worker, ref) == (True, False)


async def test_a_batch_that_can_not_run_ends(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    await house.begin_trial(worker, ref)
    await house.batches.fail_worker(worker, "No such package.")
    assert await house.counts() == (0, 0, 0, 3)
    batch = await house.batch()
    assert batch_phase(batch) == "Failed"
    assert batch.last_error == "No such package."
    await house.batches.fail_batch(BATCH, "again")
    assert await house.counts() == (0, 0, 0, 3)
    assert await house.batches.unfinished() == []


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_counts_always_add_up(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(data, Path(folder)))


async def _play(data: st.DataObject, folder: Path) -> None:  # noqa: C901 - one branch an action
    house = House(folder, n_trials=data.draw(st.integers(1, 5)))
    await house.open()
    await house.fill()
    workers = [await house.worker() for _ in range(2)]
    names = [f"{BATCH}-{number}" for number in range(2)]
    made = len(names)
    held: dict[int, tuple[v1.LeaseRef, int | None]] = {}
    actions = ("acquire", "begin", "complete", "prune", "fail", "give up", "die", "restart")
    for _ in range(data.draw(st.integers(5, 25))):
        index = data.draw(st.integers(0, 1))
        action = data.draw(st.sampled_from(actions))
        ref, trial_id = held.get(index, (None, None))
        if action == "acquire":
            new = await house.acquire(workers[index])
            if new is not None and new != ref:
                held[index] = (new, None)
        elif action == "begin" and ref is not None and trial_id is None:
            held[index] = (ref, await house.begin_trial(workers[index], ref))
        elif action in {"complete", "prune", "fail"} and ref is not None and trial_id is not None:
            state = {"complete": COMPLETE, "prune": PRUNED, "fail": FAIL}[action]
            await house.append(workers[index], ref, end_trial(trial_id, state), error="why")
            del held[index]
        elif action == "give up" and ref is not None:
            await house.batches.fail_lease(workers[index], ref, "given up")
            del held[index]
        elif action == "die":
            await house.batches.worker_exited(
                names[index], exit_code=1, reason="Error", message="died"
            )
            held.pop(index, None)
            # Another one takes its place.
            made += 1
            names[index] = f"{BATCH}-{made - 1}"
            workers[index] = await house.worker()
        elif action == "restart":
            await house.database.close()
            await house.open()
        active, succeeded, pruned, failed = await house.counts()
        assert active == len(held)
        assert active + succeeded + pruned + failed <= house.n_trials
        batch = await house.batch()
        assert batch.is_over == (succeeded + pruned + failed == house.n_trials)
    for name in names:
        await house.batches.worker_exited(name, exit_code=1, reason="Error", message="the end")
    await house.batches.fail_batch(BATCH, "the end")
    active, *ended = await house.counts()
    assert (active, sum(ended)) == (0, house.n_trials)

    def open_leases(session: Session) -> int:
        return len(session.scalars(select(Lease).where(Lease.state == "LEASED")).all())

    assert await house.database.read(open_leases) == 0
    storage = house.journal.storage(house.workspace_id)
    trials = await asyncio.to_thread(storage.get_all_trials, 0)
    assert all(trial.state.is_finished() for trial in trials), "nothing runs for ever"
    await house.database.close()

"""Whatever happens to workers, the counts of a batch add up to its trials."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from aiauto.errors import AbortedError, FailedPreconditionError, InvalidArgumentError
from aiauto.server.auth import WorkerIdentity
from aiauto.server.batches import Acquired, Batches, StopReason
from aiauto.server.batches.heartbeats import LONGEST_GAP_SECONDS
from aiauto.server.database import Database
from aiauto.server.database.models import Lease, Study, TrialBatch, Worker, now
from aiauto.server.journal import Journal
from aiauto.server.messages import batch_phase
from tests.server.conftest import new_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy.orm import Session

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
            self.batches._heartbeats.listen()
        for worker, ref in lively:
            await self.batches.heartbeat(worker, ref)
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
                objective=b"",
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
        acquired = await self.batches.acquire(worker)
        if acquired.lease_id is None:
            return None
        return v1.LeaseRef(lease_id=str(acquired.lease_id), fence=acquired.fence)

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
        appended = await self.batches.append(self.workspace_id, request, worker)
        return [json.loads(text) for text in appended.new.entries]

    async def append_and_acquire(
        self,
        worker: WorkerIdentity,
        ref: v1.LeaseRef,
        entry: dict[str, object],
        request_id: str = "",
        begin: dict[str, object] | None = None,
    ) -> Acquired | None:
        request = v1.AppendEntriesRequest(
            entries=[json.dumps(entry)],
            request_id=request_id or str(uuid.uuid4()),
            lease=ref,
            error="why",
            acquire_next=True,
            begin_next="" if begin is None else json.dumps(begin),
        )
        return (await self.batches.append(self.workspace_id, request, worker)).acquired

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


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    house = House(database_url, n_trials=3)
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


async def test_the_next_lease_comes_with_the_end_of_one(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    for trial_id in range(3):
        assert ref is not None
        # There is no other one before.
        assert await house.append_and_acquire(worker, ref, create_trial()) is None
        end = end_trial(trial_id, COMPLETE)
        acquired = await house.append_and_acquire(worker, ref, end, request_id=f"end {trial_id}")
        # Sent again, it is the same one.
        again = await house.append_and_acquire(worker, ref, end, request_id=f"end {trial_id}")
        assert acquired == again
        assert acquired is not None
        ref = await house.acquire(worker)
        assert acquired.lease_id == (None if ref is None else int(ref.lease_id))
        assert await house.counts() == (int(trial_id < 2), trial_id + 1, 0, 0)
    assert (await house.batch()).is_over


async def test_the_next_trial_begins_with_the_end_of_one(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    trial_id = await house.begin_trial(worker, ref)
    for number in range(3):
        end = end_trial(trial_id, COMPLETE)
        acquired = await house.append_and_acquire(worker, ref, end, f"{number}", create_trial())
        # Sent again, it begins nothing more.
        again = await house.append_and_acquire(worker, ref, end, f"{number}", create_trial())
        assert acquired == again
        assert acquired is not None
        last = number == 2
        assert (acquired.lease_id is None, acquired.begun) == (last, not last)
        assert [trial.state for trial in await house.trials()] == (
            [TrialState.COMPLETE] * (number + 1) + [TrialState.RUNNING] * (not last)
        )
        assert await house.counts() == (int(not last), number + 1, 0, 0)
        if not last:
            ref = v1.LeaseRef(lease_id=str(acquired.lease_id), fence=acquired.fence)
            trial_id += 1
            with pytest.raises(FailedPreconditionError, match="one trial a lease"):
                await house.append(worker, ref, create_trial())
    assert (await house.batch()).is_over


async def test_what_waits_goes_before_a_new_trial(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    trial_id = await house.begin_trial(worker, ref)
    waiting = {**create_trial(), "state": int(TrialState.WAITING), "datetime_start": None}
    await house.append(None, None, waiting)
    end = end_trial(trial_id, COMPLETE)
    acquired = await house.append_and_acquire(worker, ref, end, begin=create_trial())
    assert acquired is not None
    assert not acquired.begun
    ref = v1.LeaseRef(lease_id=str(acquired.lease_id), fence=acquired.fence)
    trial_id = await house.begin_trial(worker, ref)
    assert trial_id == 1
    end = end_trial(trial_id, COMPLETE)
    acquired = await house.append_and_acquire(worker, ref, end, begin=create_trial())
    assert acquired is not None
    assert acquired.begun


async def test_only_a_new_trial_can_begin(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    trial_id = await house.begin_trial(worker, ref)
    end = end_trial(trial_id, COMPLETE)
    for wrong in (end, set_param(trial_id, 1.0), {**create_trial(), "state": COMPLETE}):
        with pytest.raises(InvalidArgumentError, match="begin_next"):
            await house.append_and_acquire(worker, ref, end, begin=wrong)
    # Of a study that has been deleted nothing begins, and what ended has ended.
    delete: dict[str, object] = {"op_code": 1, "worker_id": "s", "study_id": 0}
    await house.database.write(
        lambda session: house.journal.append(session, house.workspace_id, [delete])
    )
    acquired = await house.append_and_acquire(worker, ref, end, begin=create_trial())
    assert acquired is not None
    assert not acquired.begun
    assert await house.counts() == (1, 1, 0, 0)


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


async def test_a_silent_worker_counts_as_dead(house: House) -> None:
    silent, lively = await house.worker(), await house.worker()
    lost, kept = await held_lease(house, silent), await held_lease(house, lively)
    trial_id = await house.begin_trial(silent, lost)
    await house.spend(TTL, (lively, kept))
    await house.spend(GRACE, (lively, kept))
    assert await house.counts() == (2, 0, 0, 0)
    await house.spend(1, (lively, kept))
    assert await house.counts() == (1, 0, 0, 1)
    assert await house.batches.heartbeat(silent, lost) == (True, False)
    assert [trial.state for trial in await house.trials()] == [TrialState.FAIL]
    # What it still reports moves nothing, and is kept for people.
    for _ in range(2):
        with pytest.raises(AbortedError, match="was lost"):
            await house.append(silent, lost, end_trial(trial_id, COMPLETE, 2.5))
    assert await house.counts() == (1, 0, 0, 1)
    error = (await house.batch()).last_error
    assert error.startswith("The worker has not been heard of for 90 s")
    assert error.count("Trial 0 ended all the same, too late to count: COMPLETE, [2.5].") == 1
    # It goes on with another trial.
    again = await held_lease(house, silent)
    assert again.lease_id != lost.lease_id


@pytest.mark.parametrize("sign", ["heartbeat", "append"])
async def test_a_worker_that_was_suspected_and_comes_back(house: House, sign: str) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    await house.spend(TTL + GRACE - 1)
    if sign == "heartbeat":
        assert await house.batches.heartbeat(worker, ref) == (False, False)
    else:
        await house.append(worker, ref, set_param(trial_id, 1.0))
    await house.spend(TTL + GRACE - 1)
    await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    assert await house.counts() == (0, 1, 0, 0)
    assert [trial.state for trial in await house.trials()] == [TrialState.COMPLETE]


async def test_a_restart_of_the_server_gives_everybody_their_time_anew(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    await house.spend(TTL + GRACE - 1)
    await house.database.close()
    await house.open()
    await house.spend(TTL + GRACE - 1)
    await house.spend(TTL + GRACE - 1)
    await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    assert await house.counts() == (0, 1, 0, 0)


async def test_who_could_not_be_heard_is_not_dead(patient: House) -> None:
    worker, free = await patient.worker(), await patient.worker()
    ref = await held_lease(patient, worker)
    trial_id = await patient.begin_trial(worker, ref)
    other = await held_lease(patient, free)
    other_id = await patient.begin_trial(free, other)
    await patient.spend(TTL - 4)
    for _ in range(2):
        await patient.sleep(1000 * TTL)
        await patient.append(free, other, end_trial(other_id, COMPLETE))
        assert await patient.acquire(free) is None, "nobody is suspected, nor is anything overdue"
    # What it was silent for before still counts.
    await patient.spend(GRACE - 1)
    assert (await patient.counts())[0] == 1
    await patient.spend(2)
    assert (await patient.counts())[0] == 0
    assert [trial.state for trial in await patient.trials()][trial_id] == TrialState.FAIL


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
def test_the_counts_always_add_up(new_database: Callable[[], str], data: st.DataObject) -> None:
    asyncio.run(_play(data, new_database()))


class Crew:
    """Two workers, what they hold as far as they should, and since when nobody heard of them."""

    def __init__(self, house: House, workers: list[WorkerIdentity]) -> None:
        self.house = house
        self.workers = workers
        self.names = [f"{BATCH}-{number}" for number in range(len(workers))]
        self.made = len(workers)
        self.held: dict[int, tuple[v1.LeaseRef, int | None]] = {}
        self.heard: dict[int, float] = {}
        # What was taken from workers, who may not know of it yet.
        self.lost: list[tuple[WorkerIdentity, v1.LeaseRef, int | None]] = []

    def hears(self, index: int) -> None:
        self.heard[index] = self.house.time

    def loses(self, index: int) -> None:
        self.lost.append((self.workers[index], *self.held.pop(index)))

    def silence(self, index: int) -> float:
        return self.house.time - self.heard[index]

    async def lease(self, index: int) -> Lease:
        lease_id = int(self.held[index][0].lease_id)
        return await self.house.database.read(lambda session: session.get_one(Lease, lease_id))

    async def acquire(self, index: int) -> None:
        other = 1 - index
        is_idle = index not in self.held
        batch = await self.house.batch()
        all_begun = batch.count_active + batch.count_completed >= batch.n_trials
        is_due = False
        if other in self.held:
            attempt = (await self.lease(other)).attempt
            may_be_retried = attempt <= batch.max_retries and not batch.stop_reason
            is_due = is_idle and all_begun and may_be_retried and self.silence(other) > TTL
        new = await self.house.acquire(self.workers[index])
        if is_due:
            assert new is not None, "nobody waits where there is something to do"
            assert (await self.lease(other)).state == "RETRIED"
            self.loses(other)
        elif other in self.held:
            assert (await self.lease(other)).state == "LEASED"
        if new is not None:
            assert is_idle or new == self.held[index][0]
            self.hears(index)
            if is_idle:
                self.held[index] = (new, None)

    async def end(self, index: int, state: int, *, go_on: bool) -> None:
        """The end of a trial, maybe with the next lease and the next trial in one call."""
        (ref, trial_id), other = self.held.pop(index), 1 - index
        assert trial_id is not None
        worker, entry = self.workers[index], end_trial(trial_id, state)
        if not go_on:
            await self.house.append(worker, ref, entry, error="why")
            return
        acquired = await self.house.append_and_acquire(worker, ref, entry, begin=create_trial())
        assert acquired is not None
        if other in self.held and (await self.lease(other)).state != "LEASED":
            assert self.silence(other) > TTL
            self.loses(other)
        if acquired.lease_id is not None:
            ref = v1.LeaseRef(lease_id=str(acquired.lease_id), fence=acquired.fence)
            self.held[index] = (ref, None)
            trial_id = (await self.lease(index)).trial_id
            assert acquired.begun == (trial_id is not None)
            self.held[index] = (ref, trial_id)
            self.hears(index)

    async def spend(self, seconds: float, lively: set[int]) -> None:
        living = lively & self.held.keys()
        await self.house.spend(seconds, *((self.workers[one], self.held[one][0]) for one in living))
        for index in living:
            self.hears(index)
        for index in list(self.held):
            if self.silence(index) > TTL + GRACE:
                assert (await self.lease(index)).state in {"FAIL", "RETRIED"}
                self.loses(index)

    async def report_late(self) -> None:
        """What was taken from workers is told all the same, once more each time."""
        before = await self.house.counts()
        for worker, ref, trial_id in self.lost:
            assert (await self.house.batches.heartbeat(worker, ref))[0]
            entries = [create_trial()] if trial_id is None else [end_trial(trial_id, COMPLETE, 7.0)]
            with pytest.raises(AbortedError):
                await self.house.append(worker, ref, *entries)
            await self.house.batches.fail_lease(worker, ref, "late")
        assert await self.house.counts() == before
        assert all(trial.values != [7.0] for trial in await self.house.trials())

    async def die(self, index: int) -> None:
        name = self.names[index]
        await self.house.batches.worker_exited(name, exit_code=1, reason="Error", message="died")
        self.held.pop(index, None)
        # Another one takes its place.
        self.made += 1
        self.names[index] = f"{BATCH}-{self.made - 1}"
        self.workers[index] = await self.house.worker()


async def _play(data: st.DataObject, url: str) -> None:  # noqa: C901 - one branch an action
    n_trials = data.draw(st.integers(1, 5))
    house = House(url, n_trials, max_retries=data.draw(st.integers(0, 2)))
    await house.open()
    await house.fill()
    crew = Crew(house, [await house.worker() for _ in range(2)])
    held = crew.held
    common = ("acquire", "begin", "complete", "prune", "fail", "give up", "die", "restart")
    silent = ("acquire", "begin", "spend", "spend", "late")
    # The end should not come at once.
    actions = (*common, *common, *silent, *silent, *silent, "stop", "cancel")
    for _ in range(data.draw(st.integers(5, 30))):
        index = data.draw(st.integers(0, 1))
        action = data.draw(st.sampled_from(actions))
        worker = crew.workers[index]
        ref, trial_id = held.get(index, (None, None))
        if action == "acquire":
            await crew.acquire(index)
        elif action == "begin" and ref is not None and trial_id is None:
            held[index] = (ref, await house.begin_trial(worker, ref))
            crew.hears(index)
        elif action in {"complete", "prune", "fail"} and ref is not None and trial_id is not None:
            state = {"complete": COMPLETE, "prune": PRUNED, "fail": FAIL}[action]
            await crew.end(index, state, go_on=data.draw(st.booleans()))
        elif action == "give up" and ref is not None:
            await house.batches.fail_lease(worker, ref, "given up")
            del held[index]
        elif action == "spend":
            seconds = data.draw(st.sampled_from([1.0, TTL / 2, TTL + 1]))
            await crew.spend(seconds, data.draw(st.sets(st.integers(0, 1))))
        elif action == "late":
            await crew.report_late()
        elif action == "die":
            await crew.die(index)
        elif action == "restart":
            await house.database.close()
            await house.open()
            await crew.spend(0, {0, 1})
        elif action == "stop":
            await house.batches.stop(worker, StopReason.BY_OBJECTIVE)
        elif action == "cancel":
            await house.batches.cancel(BATCH)
            for one in list(held):
                crew.loses(one)
        active, succeeded, pruned, failed = await house.counts()
        assert active == len(held)
        batch = await house.batch()
        assert active + succeeded + pruned + failed <= batch.n_trials <= n_trials
        assert batch.n_trials == n_trials or batch.stop_reason
        assert batch.is_over == (succeeded + pruned + failed == batch.n_trials)
    await _end(house, crew, all_die=data.draw(st.booleans()))


async def _end(house: House, crew: Crew, *, all_die: bool) -> None:
    """Whatever has happened: when the workers are gone, nothing runs or waits for ever."""
    if all_die:
        for name in crew.names:
            await house.batches.worker_exited(name, exit_code=1, reason="Error", message="the end")
    else:
        await crew.spend(TTL + GRACE + 1, set())
    await crew.report_late()
    await house.batches.fail_batch(BATCH, "the end")
    active, *ended = await house.counts()
    assert (active, sum(ended)) == (0, (await house.batch()).n_trials)

    def open_leases(session: Session) -> int:
        return len(session.scalars(select(Lease).where(Lease.state == "LEASED")).all())

    assert await house.database.read(open_leases) == 0
    trials = await house.trials()
    assert all(trial.state.is_finished() for trial in trials), "nothing runs or waits for ever"
    await house.database.close()


# --------------------------------------------------------------------- retries and early ends


@pytest.fixture
async def patient(database_url: str) -> AsyncIterator[House]:
    house = House(database_url, n_trials=2, max_retries=2, trial_timeout=200.0)
    await house.open()
    await house.fill()
    yield house
    await house.database.close()


async def held_lease(house: House, worker: WorkerIdentity) -> v1.LeaseRef:
    ref = await house.acquire(worker)
    assert ref is not None
    return ref


async def test_a_failed_trial_is_run_again_with_its_parameters(patient: House) -> None:
    worker = await patient.worker()
    for attempt in range(3):
        ref = await held_lease(patient, worker)
        trial_id = await patient.begin_trial(worker, ref)
        assert trial_id == attempt
        if attempt == 0:
            await patient.append(worker, ref, set_param(trial_id, 4.5))
        await patient.append(worker, ref, end_trial(trial_id, FAIL), error=f"attempt {attempt}")
        # Only the last time counts.
        assert await patient.counts() == (0, 0, 0, 1 if attempt == 2 else 0)
    first, second, third = await patient.trials()
    assert [one.state for one in (first, second, third)] == [TrialState.FAIL] * 3
    assert second.system_attrs == {"fixed_params": {"x": 4.5}, "failed_trial": 0}
    # What the second one did not get as far as to suggest is not lost.
    assert third.system_attrs == {"fixed_params": {"x": 4.5}, "failed_trial": 1}
    assert (await patient.batch()).last_error == "attempt 2"
    # The other trial is one of its own.
    ref = await held_lease(patient, worker)
    trial_id = await patient.begin_trial(worker, ref)
    await patient.append(worker, ref, end_trial(trial_id, COMPLETE))
    assert await patient.counts() == (0, 1, 0, 1)
    assert await patient.acquire(worker) is None


@pytest.mark.parametrize("max_retries", [0, 1])
async def test_what_a_stop_of_the_server_cuts_off_counts_as_none(
    database_url: str, max_retries: int
) -> None:
    house = House(database_url, n_trials=2, max_retries=max_retries)
    await house.open()
    await house.fill()
    asked, killed = await house.worker(), await house.worker()
    for worker in (asked, killed):
        ref = await held_lease(house, worker)
        trial_id = await house.begin_trial(worker, ref)
        await house.append(worker, ref, set_param(trial_id, 1.0 + trial_id))
    await house.batches.drain(0)
    idle = await house.batches.acquire(await house.worker())
    assert (idle.lease_id, idle.may_come) == (None, True)
    ref = await held_lease(house, asked)
    await house.batches.fail_lease(asked, ref, "The worker was stopped.")
    await house.batches.worker_exited(
        f"{BATCH}-1", exit_code=-9, reason="ServerStopped", message=""
    )
    assert await house.counts() == (0, 0, 0, 0)
    assert (await house.batch()).last_error == ""
    # The next server gives them out again, and only what fails there is an attempt.
    await house.database.close()
    await house.open()
    worker = await house.worker()
    for attempt in range(1 + max_retries):
        ref = await held_lease(house, worker)
        trial_id = await house.begin_trial(worker, ref)
        trial = (await house.trials())[trial_id]
        assert trial.system_attrs["fixed_params"] == {"x": 1.0}
        await house.append(worker, ref, end_trial(trial_id, FAIL), error="really")
        assert (await house.counts())[3] == (attempt == max_retries)
        if attempt < max_retries:
            # The other one waits before it.
            ref = await held_lease(house, worker)
            trial_id = await house.begin_trial(worker, ref)
            await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    if not max_retries:
        ref = await held_lease(house, worker)
        trial_id = await house.begin_trial(worker, ref)
        assert (await house.trials())[trial_id].system_attrs["failed_trial"] == 1
        await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    assert await house.counts() == (0, 1, 0, 1)
    await house.database.close()


async def test_a_lease_may_come_back(patient: House) -> None:
    workers = [await patient.worker() for _ in range(3)]
    for worker in workers[:2]:
        await held_lease(patient, worker)
    waiting = await patient.batches.acquire(workers[2])
    assert (waiting.lease_id, waiting.may_come) == (None, True)
    await patient.batches.worker_exited(f"{BATCH}-0", exit_code=-9, reason="Killed", message="x")
    assert await patient.acquire(workers[2]) is not None


async def test_who_is_free_runs_the_trial_of_a_suspect(patient: House) -> None:
    suspect, lively, free = [await patient.worker() for _ in range(3)]
    lost, kept = await held_lease(patient, suspect), await held_lease(patient, lively)
    trial_id = await patient.begin_trial(suspect, lost)
    await patient.append(suspect, lost, set_param(trial_id, 4.5))
    await patient.spend(TTL, (lively, kept))
    assert await patient.acquire(free) is None, "nobody is suspected yet"
    await patient.spend(1, (lively, kept))
    again = await held_lease(patient, free)
    assert await patient.counts() == (2, 0, 0, 0)
    assert await patient.begin_trial(free, again) == 1
    first, second = await patient.trials()
    assert first.state == TrialState.FAIL
    assert second.system_attrs == {"fixed_params": {"x": 4.5}, "failed_trial": 0}
    # It was run again: the result of the first time is set aside.
    with pytest.raises(AbortedError):
        await patient.append(suspect, lost, end_trial(trial_id, PRUNED))
    assert "too late to count: PRUNED." in (await patient.batch()).last_error
    # Whoever asks does not hang, even if there is nothing to be had.
    assert await patient.batches.unresponsive_workers(BATCH) == [f"{BATCH}-0"]
    assert await patient.acquire(suspect) is None
    assert await patient.batches.unresponsive_workers(BATCH) == []
    await patient.append(free, again, end_trial(1, COMPLETE))
    await patient.append(lively, kept, create_trial())
    await patient.append(lively, kept, end_trial(2, COMPLETE))
    assert await patient.counts() == (0, 2, 0, 0)


async def test_a_suspect_whose_trial_may_not_be_run_again_keeps_it(house: House) -> None:
    suspect, free = await house.worker(), await house.worker()
    ref = await held_lease(house, suspect)
    trial_id = await house.begin_trial(suspect, ref)
    await house.spend(TTL + 1)
    for _ in range(2):
        one = await held_lease(house, free)
        await house.append(free, one, end_trial(await house.begin_trial(free, one), COMPLETE))
    assert await house.acquire(free) is None
    await house.append(suspect, ref, end_trial(trial_id, COMPLETE))
    assert await house.counts() == (0, 3, 0, 0)


async def test_a_trial_that_takes_too_long(patient: House) -> None:
    worker = await patient.worker()
    ref = await held_lease(patient, worker)
    await patient.begin_trial(worker, ref)
    for _ in range(4):
        await patient.spend(50, (worker, ref))
    assert await patient.batches.heartbeat(worker, ref) == (False, False)
    await patient.spend(1, (worker, ref))
    assert await patient.batches.heartbeat(worker, ref) == (True, False)
    with pytest.raises(AbortedError, match="was lost"):
        await patient.append(worker, ref, end_trial(0, COMPLETE))
    assert "longer than trial_timeout" in (await patient.batch()).last_error
    # One that hangs is found.
    assert await patient.batches.unresponsive_workers(BATCH) == [f"{BATCH}-0"]
    await held_lease(patient, worker)
    assert await patient.batches.unresponsive_workers(BATCH) == []


async def test_a_batch_whose_time_is_up(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)

    def unit(session: Session) -> None:
        batch = session.scalars(select(TrialBatch)).one()
        batch.deadline_at = now()

    await house.database.write(unit)
    await house.batches.expiry.batches()
    batch = await house.batch()
    assert (batch.stop_reason, batch.n_trials, batch.is_over) == ("Timeout", 1, False)
    # The trial that runs goes on, and is the last one.
    await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    assert (await house.batch()).is_over
    assert await house.acquire(worker) is None


async def test_the_clock_is_set_while_a_batch_runs(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_at = now()

    def unit(session: Session) -> None:
        session.scalars(select(TrialBatch)).one().deadline_at = begun_at + timedelta(seconds=100)

    await house.database.write(unit)
    await house.batches.expiry.batches()
    for jump in (timedelta(days=365), timedelta(days=-365)):
        monkeypatch.setattr("aiauto.server.batches.expiry.now", lambda: begun_at + jump)  # noqa: B023
        await house.batches.expiry.batches()
        assert (await house.batch()).stop_reason == ""
        house.time += 49
    await house.batches.expiry.batches()
    assert (await house.batch()).stop_reason == ""
    house.time += 3
    await house.batches.expiry.batches()
    assert (await house.batch()).stop_reason == "Timeout"


async def test_the_clock_is_set_before_a_new_batch_is_looked_at(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_at = now()

    def unit(session: Session) -> int:
        batch = session.scalars(select(TrialBatch)).one()
        batch.deadline_at = begun_at + timedelta(seconds=100)
        return batch.id

    expiry = house.batches.expiry
    expiry.note(await house.database.write(unit), 100)
    monkeypatch.setattr("aiauto.server.batches.expiry.now", lambda: begun_at + timedelta(days=365))
    for seconds, reason in ((0, ""), (99, ""), (2, "Timeout")):
        house.time += seconds
        await expiry.batches()
        assert (await house.batch()).stop_reason == reason
    assert not expiry._noted


async def test_a_cancelled_batch(house: House) -> None:
    worker, other = await house.worker(), await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    ref = await held_lease(house, other)
    await house.begin_trial(other, ref)
    await house.batches.cancel(BATCH)
    await house.batches.cancel(BATCH)
    batch = await house.batch()
    assert (batch.stop_reason, batch.n_trials, batch.is_over) == ("Cancelled", 2, True)
    assert await house.counts() == (0, 1, 0, 1)
    assert await house.batches.heartbeat(other, ref) == (True, True)


async def test_a_limit_of_trials(patient: House) -> None:
    house = patient
    worker, other = await house.worker(), await house.worker()
    ref = await held_lease(house, worker)
    # A lease whose trial has not begun counts as one, lest two take the last point.
    refused = await house.batches.acquire(other, trial_limit=1)
    assert (refused.lease_id, refused.may_come) == (None, True)
    # Whoever holds it is given it again.
    again = await house.batches.acquire(worker, trial_limit=1)
    assert str(again.lease_id) == ref.lease_id
    trial_id = await house.begin_trial(worker, ref)
    await house.append(worker, ref, end_trial(trial_id, FAIL))
    # What waits to be run again has not begun.
    assert (await house.batches.acquire(other, trial_limit=1)).lease_id is None
    assert (await house.batches.acquire(other, trial_limit=2)).lease_id is not None
    assert (await house.batches.acquire(worker, trial_limit=2)).lease_id is None
    assert (await house.batches.acquire(worker, trial_limit=3)).lease_id is not None


async def test_a_search_space_that_is_exhausted(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    await house.batches.stop(worker, StopReason.EXHAUSTED)
    batch = await house.batch()
    assert (batch.stop_reason, batch.n_trials, batch.is_over) == ("SearchSpaceExhausted", 1, True)
    assert batch_phase(batch) == "Succeeded"
    refused = await house.batches.acquire(worker, trial_limit=1)
    assert (refused.lease_id, refused.may_come) == (None, False)


async def test_a_search_space_that_was_exhausted_before(house: House) -> None:
    await house.batches.stop(await house.worker(), StopReason.EXHAUSTED)
    batch = await house.batch()
    assert (batch.n_trials, batch.is_over, batch_phase(batch)) == (0, True, "Succeeded")


async def stops_after(house: House, ends: Sequence[tuple[int, Sequence[float]]]) -> int:
    """Runs trials one after another; how many of these ends the batch lasted for."""
    await house.open()
    await house.fill()
    worker = await house.worker()
    count = 0
    for state, values in ends:
        ref = await house.acquire(worker)
        if ref is None:
            break
        trial_id = await house.begin_trial(worker, ref)
        await house.append(worker, ref, end_trial(trial_id, state, *values))
        count += 1
    batch = await house.batch()
    assert batch.stop_reason == ("NoImprovement" if count < len(ends) else "")
    assert batch.is_over == (count < len(ends))
    await house.database.close()
    return count


async def test_a_search_that_finds_nothing_better(database_url: str) -> None:
    house = House(database_url, n_trials=100, patience=3)
    # Equal is not better, what is pruned counts, and what fails does not.
    better: list[tuple[int, list[float]]]
    better = [(COMPLETE, [5.0]), (COMPLETE, [5.0]), (PRUNED, []), (COMPLETE, [4.0])]
    worse: list[tuple[int, list[float]]]
    worse = [(COMPLETE, [4.0]), (FAIL, []), (FAIL, []), (PRUNED, []), (COMPLETE, [9.0])]
    assert await stops_after(house, [*better, *worse, (COMPLETE, [0.0])]) == 9


async def test_a_search_for_the_greatest(database_url: str) -> None:
    house = House(database_url, n_trials=100, patience=2, directions=["maximize"])
    values = [1.0, 2.0, float("inf"), 3.0, float("-inf"), 4.0]
    assert await stops_after(house, [(COMPLETE, [value]) for value in values]) == 5


async def test_a_search_without_patience_for_its_end(database_url: str) -> None:
    house = House(database_url, n_trials=100)
    assert await stops_after(house, [(COMPLETE, [1.0])] * 12) == 12


async def test_a_search_with_several_objectives(database_url: str) -> None:
    house = House(database_url, n_trials=100, patience=2, directions=["minimize", "maximize"])
    values = [(1.0, 1.0), (2.0, 2.0), (0.0, 0.0), (2.0, 1.0), (1.5, 1.5), (1.5, 1.4), (2.0, 2.0)]
    assert await stops_after(house, [(COMPLETE, one) for one in [*values, (0.0, 9.0)]]) == 7


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "minimize"]])
async def test_what_breaks_a_constraint_is_no_better(
    database_url: str, directions: list[str]
) -> None:
    house = House(database_url, n_trials=100, patience=3, directions=directions)
    await house.open()
    await house.fill()
    worker = await house.worker()
    # As Optuna 5 notes constraints, and as it did before; what is kept counts, what broke does not.
    noted: list[tuple[float, dict[str, object]]] = [
        (9.0, {"constraints:0": -1.0}),
        (1.0, {"constraints:0": 0.1, "constraints:1": 0.0}),
        (1.0, {"constraints": [0.0, 1.0]}),
        (8.0, {"constraints": [0.0, -1.0]}),
        (1.0, {"constraints": None}),
        (2.0, {"constraints:size": float("nan")}),
        (8.0, {}),
    ]
    for value, attributes in noted:
        ref = await held_lease(house, worker)
        trial_id = await house.begin_trial(worker, ref)
        entry: dict[str, object] = {"op_code": 9, "worker_id": "w", "trial_id": trial_id}
        entries = [{**entry, "system_attr": {name: one}} for name, one in attributes.items()]
        ended = end_trial(trial_id, COMPLETE, *[value] * len(directions))
        await house.append(worker, ref, *entries, ended)
    batch = await house.batch()
    assert (batch.stop_reason, batch.count_completed) == ("NoImprovement", len(noted))
    await house.database.close()


async def test_what_was_found_is_known_after_a_restart(database_url: str) -> None:
    house = House(database_url, n_trials=100, patience=2)
    await house.open()
    await house.fill()
    for value in (1.0, 2.0, 3.0):
        worker = await house.worker()
        ref = await held_lease(house, worker)
        trial_id = await house.begin_trial(worker, ref)
        await house.append(worker, ref, end_trial(trial_id, COMPLETE, value))
        await house.database.close()
        await house.open()
    assert (await house.batch()).stop_reason == "NoImprovement"
    await house.database.close()

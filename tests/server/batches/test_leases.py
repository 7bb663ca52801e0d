"""A lease from its beginning to its end, and who may do what under it."""

from __future__ import annotations

import asyncio

import pytest

from aiauto.errors import AbortedError, FailedPreconditionError
from aiauto.server.messages import batch_phase
from tests.server.batches.house import COMPLETE, FAIL, PRUNED, House, create_trial, end_trial


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
    assert await house.batches.work.heartbeat(worker, ref) == (True, False)

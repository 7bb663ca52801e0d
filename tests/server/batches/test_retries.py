"""Trials that are run again."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from tests.server.batches.house import (
    BATCH,
    COMPLETE,
    FAIL,
    House,
    end_trial,
    held_lease,
    set_param,
)


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
    idle = await house.batches.work.acquire(await house.worker())
    assert (idle.lease_id, idle.may_come) == (None, True)
    ref = await held_lease(house, asked)
    await house.batches.work.fail_lease(asked, ref, "The worker was stopped.")
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
    waiting = await patient.batches.work.acquire(workers[2])
    assert (waiting.lease_id, waiting.may_come) == (None, True)
    await patient.batches.worker_exited(f"{BATCH}-0", exit_code=-9, reason="Killed", message="x")
    assert await patient.acquire(workers[2]) is not None

"""Workers who are not heard of: suspected, given up, and back again."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from aiauto.errors import AbortedError
from tests.server.batches.house import (
    BATCH,
    COMPLETE,
    GRACE,
    PRUNED,
    TTL,
    House,
    create_trial,
    end_trial,
    held_lease,
    set_param,
)


async def test_a_silent_worker_counts_as_dead(house: House) -> None:
    silent, lively = await house.worker(), await house.worker()
    lost, kept = await held_lease(house, silent), await held_lease(house, lively)
    trial_id = await house.begin_trial(silent, lost)
    await house.spend(TTL, (lively, kept))
    await house.spend(GRACE, (lively, kept))
    assert await house.counts() == (2, 0, 0, 0)
    await house.spend(1, (lively, kept))
    assert await house.counts() == (1, 0, 0, 1)
    assert await house.batches.work.heartbeat(silent, lost) == (True, False)
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
        assert await house.batches.work.heartbeat(worker, ref) == (False, False)
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
    assert await patient.batches.work.heartbeat(worker, ref) == (False, False)
    await patient.spend(1, (worker, ref))
    assert await patient.batches.work.heartbeat(worker, ref) == (True, False)
    with pytest.raises(AbortedError, match="was lost"):
        await patient.append(worker, ref, end_trial(0, COMPLETE))
    assert "longer than trial_timeout" in (await patient.batch()).last_error
    # One that hangs is found.
    assert await patient.batches.unresponsive_workers(BATCH) == [f"{BATCH}-0"]
    await held_lease(patient, worker)
    assert await patient.batches.unresponsive_workers(BATCH) == []

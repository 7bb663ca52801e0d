"""What ends a trial brings the next lease, and the next trial."""

from __future__ import annotations

import pytest
from aiauto_gen.aiauto import v1
from optuna.trial import TrialState

from aiauto.errors import FailedPreconditionError, InvalidArgumentError
from tests.server.batches.house import (
    COMPLETE,
    FAIL,
    House,
    create_trial,
    end_trial,
    held_lease,
    set_param,
)


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


async def test_a_limit_of_trials(patient: House) -> None:
    house = patient
    worker, other = await house.worker(), await house.worker()
    ref = await held_lease(house, worker)
    # A lease whose trial has not begun counts as one, lest two take the last point.
    refused = await house.batches.work.acquire(other, trial_limit=1)
    assert (refused.lease_id, refused.may_come) == (None, True)
    # Whoever holds it is given it again.
    again = await house.batches.work.acquire(worker, trial_limit=1)
    assert str(again.lease_id) == ref.lease_id
    trial_id = await house.begin_trial(worker, ref)
    await house.append(worker, ref, end_trial(trial_id, FAIL))
    # What waits to be run again has not begun.
    assert (await house.batches.work.acquire(other, trial_limit=1)).lease_id is None
    assert (await house.batches.work.acquire(other, trial_limit=2)).lease_id is not None
    assert (await house.batches.work.acquire(worker, trial_limit=2)).lease_id is None
    assert (await house.batches.work.acquire(worker, trial_limit=3)).lease_id is not None

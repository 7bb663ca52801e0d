"""Calls that are sent again, since their answers were lost: they count once, whatever they say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from optuna.trial import TrialState

from aiauto.errors import FailedPreconditionError
from tests.server.batches.house import COMPLETE, create_trial, end_trial, held_lease, set_param

if TYPE_CHECKING:
    from tests.server.batches.house import House


async def test_what_could_be_appended_twice_is_appended_once(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    entry = set_param(trial_id, 4.0)
    before = await house.append(worker, ref)
    first = await house.append(worker, ref, entry, request_id="one")
    again = await house.append(worker, ref, entry, request_id="one")
    assert first == again == [*before, entry]
    await house.append(worker, ref, end_trial(trial_id, COMPLETE), request_id="two")
    await house.append(worker, ref, end_trial(trial_id, COMPLETE), request_id="two")
    assert await house.counts() == (0, 1, 0, 0)
    assert [trial.params for trial in await house.trials()] == [{"x": 4.0}]


async def test_what_a_program_sends_again_is_appended_once(house: House) -> None:
    for _ in range(2):
        await house.append(None, None, create_trial(), request_id="one")
    assert [trial.state for trial in await house.trials()] == [TrialState.RUNNING]


async def test_calls_that_come_together_count_once(house: House) -> None:
    calls = [house.append(None, None, create_trial(), request_id=str(n % 3)) for n in range(12)]
    await asyncio.gather(*calls)
    assert [trial.number for trial in await house.trials()] == [0, 1, 2]


async def test_what_was_refused_is_refused_again(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    await house.begin_trial(worker, ref)
    for _ in range(2):
        with pytest.raises(FailedPreconditionError, match="one trial a lease"):
            await house.append(worker, ref, create_trial(), request_id="one")
    assert len(await house.trials()) == 1

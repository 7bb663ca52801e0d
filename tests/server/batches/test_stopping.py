"""Batches that end before all of their trials have begun."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from aiauto.server.batches import StopReason
from aiauto.server.database.models import TrialBatch, now
from aiauto.server.messages import batch_phase
from tests.server.batches.house import BATCH, COMPLETE, House, end_trial, held_lease

if TYPE_CHECKING:
    import pytest
    from sqlalchemy.orm import Session


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
    assert await house.batches.work.heartbeat(other, ref) == (True, True)


async def test_a_search_space_that_is_exhausted(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    await house.append(worker, ref, end_trial(trial_id, COMPLETE))
    await house.batches.work.stop(worker, StopReason.EXHAUSTED)
    batch = await house.batch()
    assert (batch.stop_reason, batch.n_trials, batch.is_over) == ("SearchSpaceExhausted", 1, True)
    assert batch_phase(batch) == "Succeeded"
    refused = await house.batches.work.acquire(worker, trial_limit=1)
    assert (refused.lease_id, refused.may_come) == (None, False)


async def test_a_search_space_that_was_exhausted_before(house: House) -> None:
    await house.batches.work.stop(await house.worker(), StopReason.EXHAUSTED)
    batch = await house.batch()
    assert (batch.n_trials, batch.is_over, batch_phase(batch)) == (0, True, "Succeeded")


async def test_a_batch_that_can_not_run_ends(house: House) -> None:
    worker = await house.worker()
    ref = await house.acquire(worker)
    assert ref is not None
    await house.begin_trial(worker, ref)
    await house.batches.work.fail_worker(worker, "No such package.")
    assert await house.counts() == (0, 0, 0, 3)
    batch = await house.batch()
    assert batch_phase(batch) == "Failed"
    assert batch.last_error == "No such package."
    await house.batches.fail_batch(BATCH, "again")
    assert await house.counts() == (0, 0, 0, 3)
    assert await house.batches.unfinished() == []

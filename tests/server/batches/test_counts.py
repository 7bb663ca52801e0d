"""Whatever happens to workers, the counts of a batch add up to its trials."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from aiauto.errors import AbortedError
from aiauto.server.batches import StopReason
from aiauto.server.database.models import Lease
from tests.server.batches.house import (
    BATCH,
    COMPLETE,
    FAIL,
    GRACE,
    PRUNED,
    TTL,
    House,
    create_trial,
    end_trial,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity


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
            assert (await self.house.batches.work.heartbeat(worker, ref))[0]
            entries = [create_trial()] if trial_id is None else [end_trial(trial_id, COMPLETE, 7.0)]
            with pytest.raises(AbortedError):
                await self.house.append(worker, ref, *entries)
            await self.house.batches.work.fail_lease(worker, ref, "late")
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
            await house.batches.work.fail_lease(worker, ref, "given up")
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
            await house.batches.work.stop(worker, StopReason.BY_OBJECTIVE)
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

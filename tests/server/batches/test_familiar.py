"""What an append knows from the one before it, and when it must ask again."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from sqlalchemy import event, update
from sqlalchemy.engine import make_url

from aiauto.errors import AbortedError, FailedPreconditionError
from aiauto.server.database import rows
from aiauto.server.database.models import Lease, TrialBatch, Worker
from tests.server.batches.house import COMPLETE, House, create_trial, end_trial, held_lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.batches import Acquired

on_sqlite = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)


class Hands:
    """A worker with a trial in its hands."""

    def __init__(self, house: House, worker: WorkerIdentity, ref: v1.LeaseRef, trial: int) -> None:
        self.house, self.worker, self.ref, self.trial = house, worker, ref, trial

    async def end_and_begin(self) -> Acquired:
        """End the trial, and ask for the next in the same call."""
        end = end_trial(self.trial, COMPLETE)
        acquired = await self.house.append_and_acquire(
            self.worker, self.ref, end, begin=create_trial()
        )
        assert acquired is not None
        return acquired

    async def go_on(self) -> None:
        """End the trial, and begin the next."""
        acquired = await self.end_and_begin()
        assert acquired.begun
        self.ref = v1.LeaseRef(lease_id=str(acquired.lease_id), fence=acquired.fence)
        self.trial = len(await self.house.trials()) - 1

    async def change(self, unit: Callable[[Session], object]) -> None:
        await self.house.database.write(unit)

    def change_past_the_server(self, statement: str, *values: object) -> None:
        path = make_url(self.house.url).database
        assert path is not None
        with sqlite3.connect(path) as connection:
            connection.execute(statement, values)
        connection.close()


async def hands_of(house: House) -> Hands:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    return Hands(house, worker, ref, await house.begin_trial(worker, ref))


@pytest.fixture
async def hands(database_url: str) -> AsyncIterator[Hands]:
    house = House(database_url, n_trials=100)
    await house.open()
    await house.fill()
    hands = await hands_of(house)
    await hands.go_on()
    yield hands
    await house.database.close()


@on_sqlite
async def test_an_append_reads_nothing_again(hands: Hands) -> None:
    read: list[str] = []

    def note(*said: Any) -> None:
        if said[2].startswith("SELECT"):
            read.append(said[2])

    event.listen(hands.house.database._engine, "before_cursor_execute", note)
    acquired = await hands.end_and_begin()
    assert acquired.begun
    assert read == []
    assert await hands.house.counts() == (1, 2, 0, 0)


@on_sqlite
async def test_what_others_write_is_seen(hands: Hands) -> None:
    hands.change_past_the_server("UPDATE lease SET fence = 7 WHERE id = ?", hands.ref.lease_id)
    with pytest.raises(AbortedError):
        await hands.go_on()
    hands.ref.fence = 7
    await hands.go_on()
    hands.change_past_the_server("UPDATE trial_batch SET count_succeeded = 50")
    await hands.go_on()
    assert await hands.house.counts() == (1, 51, 0, 0)


@on_sqlite
async def test_what_others_write_is_seen_by_the_orm(hands: Hands) -> None:
    lease_id = int(hands.ref.lease_id)
    held: list[Lease | None] = []
    await hands.change(lambda session: held.append(rows.known(session, Lease, lease_id)))
    assert held != [None]
    hands.change_past_the_server("UPDATE lease SET reason = 'Lost' WHERE id = ?", lease_id)
    seen: list[str] = []
    await hands.change(lambda session: seen.append(session.get_one(Lease, lease_id).reason))
    assert seen == ["Lost"]


def by_the_orm(session: Session, hands: Hands) -> None:
    session.get_one(Lease, int(hands.ref.lease_id)).fence = 7


def at_once(session: Session, hands: Hands) -> None:
    session.execute(update(Lease).where(Lease.worker_id == hands.worker.worker_id).values(fence=7))


@pytest.mark.parametrize("change", [by_the_orm, at_once])
async def test_what_the_server_writes_otherwise_is_seen(
    hands: Hands, change: Callable[[Session, Hands], None]
) -> None:
    await hands.change(lambda session: change(session, hands))
    with pytest.raises(AbortedError):
        await hands.go_on()
    hands.ref.fence = 7
    await hands.go_on()


async def test_what_is_deleted_is_gone(hands: Hands) -> None:
    def delete(session: Session) -> None:
        # Its leases go with it, by the database.
        session.delete(session.get_one(Worker, hands.worker.worker_id))

    await hands.change(delete)
    with pytest.raises(AbortedError):
        await hands.go_on()


async def test_what_fails_is_not_known(hands: Hands) -> None:
    counts = await hands.house.counts()
    ends = [end_trial(hands.trial, COMPLETE), create_trial()]
    with pytest.raises(FailedPreconditionError):
        # It has ended and been counted when the second one is refused.
        await hands.house.append(hands.worker, hands.ref, *ends)
    assert await hands.house.counts() == counts
    await hands.go_on()
    assert await hands.house.counts() == (1, counts[1] + 1, 0, 0)


async def test_workers_of_a_batch_count_together(hands: Hands) -> None:
    others = [hands, *[await hands_of(hands.house) for _ in range(3)]]
    for number in range(1, 6):
        for one in others:
            await one.go_on()
        assert await hands.house.counts() == (4, 1 + 4 * number, 0, 0)


async def test_a_trial_ended_from_outside_counts_once(hands: Hands) -> None:
    # By the user's own program: the worker has it in its hands, and the server remembers that.
    await hands.house.append(None, None, end_trial(hands.trial, COMPLETE))
    assert await hands.house.counts() == (0, 2, 0, 0)
    with pytest.raises(AbortedError):
        await hands.go_on()
    assert await hands.house.counts() == (0, 2, 0, 0)

    def read(session: Session) -> int:
        return session.get_one(TrialBatch, hands.worker.batch_id).count_succeeded

    assert await hands.house.database.read(read) == 2


async def test_a_lease_that_is_asked_for_by_itself_is_counted(hands: Hands) -> None:
    other = await hands_of(hands.house)
    await other.go_on()
    await hands.go_on()
    counts = await hands.house.counts()
    await other.house.append(other.worker, other.ref, end_trial(other.trial, COMPLETE))
    assert await other.house.acquire(other.worker) is not None
    await hands.go_on()
    assert await hands.house.counts() == (2, counts[1] + 2, 0, 0)

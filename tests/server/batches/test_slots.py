"""How often workers are told to have been restarted: by who has died in their place before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from aiauto.server.batches import slots, workers
from aiauto.server.database.models import TrialBatch, Worker
from tests.server.batches.house import BATCH, House

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


async def enter(house: House, *, pod: str = "", gpu_share: str | None = None) -> str:
    def unit(session: Session) -> str:
        batch = session.scalars(select(TrialBatch).where(TrialBatch.name == BATCH)).one()
        return workers.enter(session, batch, name=pod, gpu_share=gpu_share).name

    return await house.database.write(unit)


async def end(house: House, name: str, exit_code: int) -> None:
    reason = "Killed" if exit_code else "Completed"
    await house.batches.worker_exited(name, exit_code=exit_code, reason=reason, message="")


async def restarts(house: House) -> list[int]:
    def unit(session: Session) -> list[int]:
        return slots.restarts(session.scalars(select(Worker).order_by(Worker.id)))

    return await house.database.read(unit)


async def test_a_worker_takes_the_place_of_one_that_died(house: House) -> None:
    first, second = await enter(house), await enter(house)
    await end(house, second, -9)
    again = await enter(house)
    assert await restarts(house) == [0, 0, 1]
    await end(house, again, -9)
    await end(house, first, -9)
    await enter(house)
    await enter(house)
    assert await restarts(house) == [0, 0, 1, 1, 2]


async def test_who_has_done_what_it_should_was_not_restarted(house: House) -> None:
    await end(house, await enter(house), 0)
    await enter(house)
    assert await restarts(house) == [0, 0]


async def test_each_gpu_model_has_places_of_its_own(house: House) -> None:
    await end(house, await enter(house, gpu_share="a100"), -9)
    await enter(house, gpu_share="t4")
    await enter(house, gpu_share="a100")
    assert await restarts(house) == [0, 0, 1]


async def test_pods_have_the_place_of_their_index(house: House) -> None:
    one = await enter(house, pod=f"{BATCH}-1-x7k2p")
    await enter(house, pod=f"{BATCH}-0-aaaaa")
    await end(house, one, 137)
    await enter(house, pod=f"{BATCH}-1-zzzzz")
    assert await restarts(house) == [0, 0, 1]


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "slot"),
    [("b-12-x7k2p", 12), ("b-gpu-3090-0-aaaaa", 0), ("b-3090-aaa", None), ("b-aaaaa", None)],
)
def test_the_index_is_in_a_pods_name(name: str, slot: int | None) -> None:
    assert slots.of_pod(name) == slot


async def test_of_workers_without_a_place_nothing_is_known(house: House) -> None:
    """Those from before places were noted."""
    for name in (await enter(house), await enter(house)):
        await end(house, name, -9)

    def forget(session: Session) -> None:
        for worker in session.scalars(select(Worker)):
            worker.slot = None

    await house.database.write(forget)
    assert await restarts(house) == [0, 0]

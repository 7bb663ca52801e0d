"""Searches that end when they find nothing better any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.batches.house import COMPLETE, FAIL, PRUNED, House, end_trial, held_lease

if TYPE_CHECKING:
    from collections.abc import Sequence


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

"""Answers without what their callers have sent themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.server.batches.house import COMPLETE, create_trial, end_trial, held_lease, set_param

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.batches.appending import Appended
    from tests.server.batches.house import House


async def _append(
    house: House,
    worker: WorkerIdentity,
    ref: v1.LeaseRef,
    *entries: dict[str, object],
    position: int = 0,
    request_id: str = "",
    begin: dict[str, object] | None = None,
) -> Appended:
    return await house.send(
        worker,
        ref,
        *entries,
        position=position,
        request_id=request_id,
        begin=begin,
        acquire_next=True,
        leave_out_own=True,
    )


async def test_only_what_others_did_comes_back(house: House) -> None:
    worker, other = await house.worker(), await house.worker()
    ref, theirs = await held_lease(house, worker), await held_lease(house, other)
    trial_id = await house.begin_trial(worker, ref)
    before = len(await house.append(worker, ref))
    their_trial = await house.begin_trial(other, theirs)
    answer = await _append(house, worker, ref, set_param(trial_id, 4.0), position=before)
    (foreign,) = map(json.loads, answer.new.entries)
    assert foreign["op_code"] == create_trial()["op_code"]
    assert (answer.own_position, answer.new.length) == (before + 1, before + 2)
    await house.append(other, theirs, set_param(their_trial, 5.0))
    # Its end begins the next trial, which comes last.
    end, begin = end_trial(trial_id, COMPLETE), create_trial()
    answer = await _append(house, worker, ref, end, position=before + 2, begin=begin)
    (foreign,) = map(json.loads, answer.new.entries)
    assert foreign["param_value_internal"] == 5.0
    assert (answer.own_position, answer.new.length) == (before + 3, before + 5)
    assert answer.acquired is not None
    assert answer.acquired.begun
    assert (await house.append(worker, ref))[before + 3 :] == [end, begin]


async def test_what_is_sent_again_comes_back(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    before = len(await house.append(worker, ref))
    entry = set_param(trial_id, 4.0)
    for own_position in (before, None):
        answer = await _append(house, worker, ref, entry, position=before, request_id="one")
        assert answer.own_position == own_position
    assert [json.loads(text) for text in answer.new.entries] == [entry]


async def test_a_caller_that_is_ahead_of_what_it_sends(house: House) -> None:
    worker = await house.worker()
    ref = await held_lease(house, worker)
    trial_id = await house.begin_trial(worker, ref)
    before = len(await house.append(worker, ref))
    entries = [set_param(trial_id, value) for value in (4.0, 5.0)]
    answer = await _append(house, worker, ref, *entries, position=before + 1)
    assert answer.own_position is None
    assert [json.loads(text) for text in answer.new.entries] == entries[1:]

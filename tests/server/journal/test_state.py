"""A shorter journal leads Optuna to the same state, and so does what comes after it."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from aiauto.server.journal import state as states
from aiauto.server.journal.entries import MAX_ENTRY_BYTES, check
from aiauto.server.journal.snapshots import Snapshot
from aiauto.server.journal.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna.distributions import BaseDistribution

DISTRIBUTIONS: list[BaseDistribution] = [
    FloatDistribution(0, 10),
    FloatDistribution(0, 20),
    FloatDistribution(1, 10, log=True),
    IntDistribution(0, 5),
    CategoricalDistribution(["a", None, 1.5]),
]
ENDED = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Memory(BaseJournalBackend):
    """A journal in memory."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = list(lines)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[log_number_from:]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lines += [json.dumps(log, separators=(",", ":")) for log in logs]


def seen(storage: JournalStorage) -> list[Any]:
    return [
        (
            study._study_id,
            study.study_name,
            study.directions,
            study.user_attrs,
            study.system_attrs,
            storage.get_all_trials(study._study_id),
        )
        for study in storage.get_all_studies()
    ]


def folded(lines: Iterable[str]) -> list[str]:
    state = State()
    state.apply(check(line) for line in lines)
    return list(state.entries())


def act(storage: JournalStorage, data: st.DataObject) -> None:
    studies = [study._study_id for study in storage.get_all_studies()]
    trials = [one for study_id in studies for one in storage.get_all_trials(study_id)]
    name = data.draw(st.sampled_from("abc"))
    action = data.draw(st.integers(0, 13))
    if action == 0 or not studies:
        storage.create_new_study([StudyDirection.MINIMIZE], f"study-{name}")
    elif action == 1 and len(studies) > 1:
        storage.delete_study(studies[0])
    elif action == 2:
        storage.set_study_user_attr(studies[-1], name, data.draw(st.integers()))
    elif action == 3:
        storage.set_study_system_attr(studies[-1], name, {"x": [1, None]})
    elif action == 4:
        distribution = data.draw(st.sampled_from(DISTRIBUTIONS))
        value = distribution.to_external_repr(1)
        template = optuna.trial.create_trial(
            state=data.draw(st.sampled_from(list(TrialState))),
            value=1.0,
            params={name: value},
            distributions={name: distribution},
            intermediate_values={3: 0.5},
            user_attrs={"x": name},
        )
        if template.state != TrialState.COMPLETE:
            template.values = None
        storage.create_new_trial(studies[0], template)
    elif action <= 6 or not trials:
        storage.create_new_trial(data.draw(st.sampled_from(studies)))
    else:
        act_on_trial(storage, data.draw(st.sampled_from(trials))._trial_id, action, name, data)


def act_on_trial(
    storage: JournalStorage, trial_id: int, action: int, name: str, data: st.DataObject
) -> None:
    if action <= 8:
        storage.set_trial_param(trial_id, name, 1, data.draw(st.sampled_from(DISTRIBUTIONS)))
    elif action == 9:
        storage.set_trial_intermediate_value(trial_id, data.draw(st.integers(-1, 2)), 0.25)
    elif action == 10:
        storage.set_trial_user_attr(trial_id, name, "\N{HONEYBEE}")
    elif action == 11:
        storage.set_trial_system_attr(trial_id, name, [float("inf")])
    else:
        state = data.draw(st.sampled_from(list(TrialState)))
        storage.set_trial_state_values(
            trial_id, state, [2.0] if state == TrialState.COMPLETE else None
        )


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_same_state(data: st.DataObject) -> None:
    journal = Memory()
    # Two programs: what one may not write it is told, and the other passes over.
    programs = [JournalStorage(journal), JournalStorage(journal)]
    for _ in range(data.draw(st.integers(0, 40))):
        with contextlib.suppress(Exception):
            act(data.draw(st.sampled_from(programs)), data)
    cut = data.draw(st.integers(0, len(journal.lines)))
    with pytest.MonkeyPatch.context() as patch:
        # Each trial in one entry, or each in several.
        patch.setattr(states, "MAX_CHARACTERS", data.draw(st.sampled_from([10**6, 0])))
        short = folded(journal.lines[:cut])
        assert folded(short) == short
    expected = seen(JournalStorage(Memory(journal.lines)))
    assert seen(JournalStorage(Memory([*short, *journal.lines[cut:]]))) == expected
    for study in expected:
        of_study = Snapshot(cut, short).of_study(study[1])
        program = JournalStorage(Memory([*of_study.lines, *journal.lines[cut:]]))
        (same,) = [one for one in seen(program) if one[0] == study[0]]
        assert same == study
        assert [one[:2] for one in seen(program)] == [one[:2] for one in expected]
        for one, other in zip(seen(program), expected, strict=True):
            assert [trial._trial_id for trial in one[5]] == [t._trial_id for t in other[5]]


def test_a_finished_trial_is_one_entry() -> None:
    journal = Memory()
    study = optuna.create_study(storage=JournalStorage(journal))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.number, n_trials=5)
    assert len(folded(journal.lines)) == 1 + 5


@pytest.mark.once
def test_no_entry_is_too_long_for_a_message() -> None:
    journal = Memory()
    study = optuna.create_study(storage=JournalStorage(journal))
    trial = study.ask()
    for number in range(states.MAX_CHARACTERS // MAX_ENTRY_BYTES + 1):
        trial.set_user_attr(f"part {number}", "x" * (MAX_ENTRY_BYTES - 200))
    study.tell(trial, 1.0)
    short = folded(journal.lines)
    assert max(map(len, short)) <= MAX_ENTRY_BYTES
    assert seen(JournalStorage(Memory(short))) == seen(JournalStorage(journal))

"""Which trials keep their artifacts: those that are best, whatever a study looks like."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from aiauto.server.files.retention import ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
INFINITY = math.inf


def trials(
    values: Sequence[float | Sequence[float] | TrialState], **constraints: Any
) -> list[FrozenTrial]:
    """Trials of these values, or of these states; with constraints by ``t<number>``."""
    made: list[FrozenTrial] = []
    for number, value in enumerate(values):
        attributes = (
            {"constraints": constraints[f"t{number}"]} if f"t{number}" in constraints else {}
        )
        if isinstance(value, TrialState):
            trial = create_trial(state=value, system_attrs=attributes)
        else:
            each = [value] if isinstance(value, (int, float)) else list(value)
            trial = create_trial(values=each, system_attrs=attributes)
        trial.number = number
        made.append(trial)
    return made


def order(made: list[FrozenTrial], *directions: StudyDirection) -> list[int]:
    return [trial.number for trial in ranked(made, directions)]


def test_one_objective() -> None:
    made = trials([3.0, 1.0, 2.0, 1.0])
    assert order(made, MINIMIZE) == [1, 3, 2, 0]
    assert order(made, MAXIMIZE) == [0, 2, 1, 3]


def test_those_without_a_value_come_last() -> None:
    state = TrialState
    made = trials([state.FAIL, 1.0, state.PRUNED, INFINITY, state.FAIL, -INFINITY])
    assert order(made, MINIMIZE) == [5, 1, 3, 2, 4, 0]


@pytest.mark.parametrize("broken", [[1.0], [0.0, 0.5], 2, None, "x", [math.nan]])
def test_a_broken_constraint_comes_after_a_kept_one(broken: Any) -> None:
    made = trials([1.0, 2.0, 3.0], t0=broken, t1=[-1.0, 0.0])
    assert order(made, MINIMIZE) == [1, 2, 0]


def test_several_objectives() -> None:
    made = trials([(1, 5), (2, 6), (5, 1), (3, 3), (INFINITY, INFINITY), (3, 3)])
    # The front is 0, 2, 3 and 5, the newest first; then the others.
    assert order(made, MINIMIZE, MINIMIZE) == [5, 3, 2, 0, 4, 1]
    assert order(made, MAXIMIZE, MAXIMIZE)[0] == 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_front_is_that_of_optuna(values: list[tuple[int, int]]) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    for pair in values:
        study.add_trial(create_trial(values=list(map(float, pair))))
    best = {trial.number for trial in study.best_trials}
    first = order(study.trials, MINIMIZE, MAXIMIZE)[: len(best)]
    assert set(first) == best

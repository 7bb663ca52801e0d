"""Trials that wait are found among few, and none is missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from aiauto.runner.waiting import WAITING, WorkerStorage

if TYPE_CHECKING:
    from collections.abc import Iterable


class Log(BaseJournalBackend):
    """A journal in memory, for several storages."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.entries += logs


def waiting(storage: JournalStorage, study_id: int) -> list[int]:
    return [
        trial.number for trial in storage.get_all_trials(study_id, deepcopy=False, states=WAITING)
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["enqueue", "ask", "elsewhere", "create", "look"]), max_size=40))
def test_it_finds_what_optuna_finds(steps: list[str]) -> None:
    log = Log()
    here, elsewhere = WorkerStorage(log, {}), JournalStorage(log)
    study = optuna.create_study(storage=here, study_name="study")
    other = optuna.load_study(storage=elsewhere, study_name="study")
    for step in steps:
        if step == "enqueue":
            other.enqueue_trial({"x": 0.5})
        elif step == "ask":
            before = waiting(elsewhere, other._study_id)
            trial = study.ask()
            assert not before or trial.number == before[0]
        elif step == "elsewhere":
            other.ask()
        elif step == "create":
            template = optuna.trial.create_trial(state=TrialState.COMPLETE, value=1.0)
            elsewhere.create_new_trial(other._study_id, template_trial=template)
        assert waiting(here, study._study_id) == waiting(elsewhere, other._study_id)


def test_only_new_trials_are_looked_at() -> None:
    looked_at: list[int] = []

    class Counting(WorkerStorage):
        def get_trial(self, trial_id: int) -> optuna.trial.FrozenTrial:
            looked_at.append(trial_id)
            return super().get_trial(trial_id)

    storage = Counting(Log(), {})
    study = optuna.create_study(storage=storage)
    for _ in range(50):
        study.tell(study.ask(), 1.0)
    looked_at.clear()
    assert waiting(storage, study._study_id) == []
    assert len(looked_at) == 1


def test_several_studies_are_kept_apart() -> None:
    storage = WorkerStorage(Log(), {})
    first, second = optuna.create_study(storage=storage), optuna.create_study(storage=storage)
    first.ask()
    second.enqueue_trial({})
    first.enqueue_trial({})
    assert waiting(storage, first._study_id) == [1]
    assert waiting(storage, second._study_id) == [0]


class Outrun(Log):
    """A journal in which somebody else is always quicker to start a trial that waits."""

    def __init__(self, *, ends: bool) -> None:
        super().__init__()
        self._ends = ends
        self._other: optuna.Study | None = None

    def let_go_first(self, other: optuna.Study) -> None:
        self._other = other

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        starts = any(log.get("state") == TrialState.RUNNING and "trial_id" in log for log in logs)
        if starts and self._other is not None:
            other, self._other = self._other, None
            trial = other.ask()
            if self._ends:
                other.tell(trial, 1.0)
        super().append_logs(logs)


@pytest.mark.parametrize("ends", [False, True])
def test_who_comes_too_late_for_a_trial_leaves_it_alone(*, ends: bool) -> None:
    log = Outrun(ends=ends)
    here = optuna.create_study(storage=WorkerStorage(log, {"pod_name": "here"}), study_name="study")
    there = WorkerStorage(log, {"pod_name": "there"})
    here.enqueue_trial({"x": 0.25})
    log.let_go_first(optuna.load_study(storage=there, study_name="study"))
    assert here.ask().number == 1
    (first, _) = here.trials
    assert first.user_attrs == {"pod_name": "there"}

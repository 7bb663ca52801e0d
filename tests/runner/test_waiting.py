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

from aiauto.runner.trials import WorkerStudy
from aiauto.runner.waiting import WAITING, WorkerStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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

    def __init__(self) -> None:
        super().__init__()
        self._meanwhile: Callable[[], object] | None = None

    def let_go_first(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        starts = any(log.get("state") == TrialState.RUNNING and "trial_id" in log for log in logs)
        if starts and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        super().append_logs(logs)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("another", [False, True])
def test_who_comes_too_late_for_a_trial_leaves_it_alone(*, ends: bool, another: bool) -> None:
    log = Outrun()
    here = WorkerStorage(log, {"pod_name": "here"})
    optuna.create_study(storage=here, study_name="study").enqueue_trial({"x": 0.25})
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    study = WorkerStudy("study", here, sampler, pruner, on_stop=lambda: None)
    there = optuna.load_study(storage=WorkerStorage(log, {"pod_name": "there"}), study_name="study")

    def meanwhile() -> None:
        trial = there.ask()
        if another:
            there.enqueue_trial({"x": 0.75})
        if ends:
            there.tell(trial, 1.0)

    log.let_go_first(meanwhile)
    trial = study.ask()
    assert trial.number == 1
    # What came to wait meanwhile is not left behind by a new trial.
    assert (trial.suggest_float("x", 0, 1) == 0.75) is another
    assert study.trials[0].user_attrs == {"pod_name": "there"}

"""Notes and attributes of a trial, in an objective and for a trial that was asked for."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

import optuna
import pytest

import aiauto
from aiauto import trial as trials

if TYPE_CHECKING:
    from aiauto.testing import EmbeddedServer


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


def note_of(study: optuna.Study, number: int = 0) -> str:
    notes: Any = importlib.import_module("optuna_dashboard._note")
    trial = study.trials[number]
    attributes = study._storage.get_study_system_attrs(study._study_id)
    note: dict[str, Any] = notes.get_note_from_system_attrs(attributes, trial._trial_id)
    return str(note["body"])


def test_a_note_is_saved_every_five_lines_and_at_the_end(study: aiauto.StudyWrapper) -> None:
    local = study.get_study()
    trial = local.ask()
    tc = aiauto.TrialController(trial)
    assert tc.get_trial() is trial
    for number in range(4):
        tc.log(f"line {number}")
    assert note_of(local) == ""
    tc.log("line 4")
    assert note_of(local) == "line 0  \nline 1  \nline 2  \nline 3  \nline 4"
    # Another controller of the same trial goes on with the same note.
    aiauto.TrialController(trial).log(5)
    tc.flush()
    assert note_of(local).endswith("line 4  \n5")
    tc.log("last")
    local.tell(trial, 1.0)
    assert note_of(local).endswith("5  \nlast")


def test_a_long_note_keeps_its_end(study: aiauto.StudyWrapper) -> None:
    local = study.get_study()
    trial = local.ask()
    tc = aiauto.TrialController(trial)
    for number in range(12):
        tc.log(f"{number}:" + "x" * 4000)
    local.tell(trial, 1.0)
    note = note_of(local)
    assert len(note) < trials.MAX_NOTE_CHARACTERS + 100
    assert note.startswith("[earlier lines are left out]")
    assert "11:x" in note
    assert "3:x" not in note


def test_a_frozen_trial_has_nowhere_to_keep_a_note(
    study: aiauto.StudyWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    local = study.get_study()
    local.tell(local.ask(), 1.0)
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.INFO, logger="optuna"):
            tc = aiauto.TrialController(local.trials[0])
            tc.log("shown")
            tc.flush()
    finally:
        optuna.logging.disable_propagation()
    assert "Trial 0: shown" in caplog.text
    assert note_of(local) == ""


def test_reserved_attributes(study: aiauto.StudyWrapper) -> None:
    local = study.get_study()
    tc = aiauto.TrialController(local.ask())
    tc.set_user_attr("metric", {"accuracy": 0.5})
    assert local.trials[0].user_attrs["metric"] == {"accuracy": 0.5}
    for name in trials.RESERVED_ATTRIBUTES:
        with pytest.raises(ValueError, match=f"'{name}' is set by aiauto itself"):
            tc.set_user_attr(name, "x")


def test_it_needs_a_trial() -> None:
    wrong: Any = 5
    with pytest.raises(aiauto.ArgumentTypeError, match="trial must be the trial"):
        aiauto.TrialController(wrong)


def test_in_an_objective(study: aiauto.StudyWrapper) -> None:
    def objective(trial: optuna.Trial) -> float:
        tc = aiauto.TrialController(trial)
        tc.log(f"number {trial.number}")
        tc.set_user_attr("mine", 1)
        return 0.0

    study.optimize(objective, n_trials=4, parallelism=2, wait_option="WAIT_ALL_TRIALS")
    local = study.get_study()
    assert [note_of(local, number) for number in range(4)] == [f"number {n}" for n in range(4)]
    assert all(trial.user_attrs["mine"] == 1 for trial in local.trials)


def test_a_controller_that_is_made_in_an_objective(
    study: aiauto.StudyWrapper, server: EmbeddedServer
) -> None:
    def objective(trial: optuna.Trial) -> float:
        # As scripts for the released client do it, with the token of the user.
        inside = aiauto.AIAutoController("<your-token-here>")
        trials = inside.get_storage().get_all_trials(trial.study._study_id, deepcopy=False)
        try:
            inside.create_study("not-from-here")
        except aiauto.PermissionDeniedError:
            return float(len(trials))
        return -1.0

    study.optimize(objective, n_trials=1, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    assert study.best_value == 1.0, study.get_status()["last_error"]

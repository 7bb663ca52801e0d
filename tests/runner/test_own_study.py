"""What an objective may do to the study that it finds at its trial, and that it is no other's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from aiauto.errors import PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiauto

State = optuna.trial.TrialState


def test_its_own_study_is_open_to_it(controller: aiauto.AIAutoController, study_name: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        study = trial.study
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("of trial", 1)
        if trial.number == 0:
            study.set_user_attr("of study", {"deep": [1]})
            study.set_metric_names(["loss"])
            study.enqueue_trial({"x": 0.25}, user_attrs={"enqueued": True})
            study.add_trial(optuna.create_trial(value=7.0, params={}, distributions={}))
            assert len(study.get_trials(states=[State.WAITING])) == 1
            assert study.best_value == 7.0
        # A study within the objective, as for cross-validation of its own.
        inner = optuna.create_study()
        inner.optimize(lambda one: one.suggest_float("y", 0, 1), n_trials=2)
        return x

    study = controller.create_study(study_name)
    study.optimize(objective, 3, 1, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
    assert study.get_status()["count_succeeded"] == 3
    optuna_study = study.get_study()
    assert optuna_study.user_attrs["of study"] == {"deep": [1]}
    assert optuna_study.metric_names == ["loss"]
    trials = optuna_study.trials
    assert [trial.params["x"] for trial in trials if "enqueued" in trial.user_attrs] == [0.25]
    assert [trial.number for trial in trials if trial.value == 7.0] == [2]


def test_other_studies_are_not(controller: aiauto.AIAutoController, study_name: str) -> None:
    other_name = f"{study_name}-2"
    controller.create_study(other_name).enqueue_trial({"x": 0.5})

    def refused(deed: Callable[[], object]) -> str:
        try:
            deed()
        except PermissionDeniedError as error:
            return str(error)
        return ""

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        storage: Any = trial.study._storage
        other = optuna.load_study(study_name=other_name, storage=storage)
        assert len(other.trials) == 1  # it may look
        deeds: list[Callable[[], object]] = [
            lambda: other.enqueue_trial({"x": 0.1}),
            lambda: other.set_user_attr("a", 1),
            other.ask,
            lambda: optuna.create_study(study_name=f"{other_name}-3", storage=storage),
            lambda: optuna.delete_study(study_name=other_name, storage=storage),
        ]
        told = [refused(deed) for deed in deeds]
        # What it had written itself is not lost with what was refused.
        trial.set_user_attr("told", told)
        return x

    study = controller.create_study(study_name)
    study.optimize(objective, 2, 1, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
    assert study.get_status()["count_succeeded"] == 2
    for trial in study.get_study().trials:
        assert trial.params.keys() == {"x"}
        assert all("A worker can't" in told for told in trial.user_attrs["told"])
    other = controller.create_study(other_name).get_study()
    assert (len(other.trials), other.user_attrs, other.trials[0].user_attrs) == (1, {}, {})


def test_a_trial_that_writes_into_another_study_fails(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    other_name = f"{study_name}-2"
    controller.create_study(other_name).enqueue_trial({"x": 0.5})

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 0:
            storage: Any = trial.study._storage
            other = optuna.load_study(study_name=other_name, storage=storage)
            storage.set_trial_user_attr(other.trials[0]._trial_id, "a", 1)
        return x

    study = controller.create_study(study_name)
    study.optimize(objective, 2, 1, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
    status = study.get_status()
    assert (status["count_succeeded"], status["count_failed"]) == (1, 1)
    assert "can't write to another study" in status["last_error"]
    other = controller.create_study(other_name).get_study()
    assert other.trials[0].user_attrs == {}

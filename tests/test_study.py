"""StudyWrapper: what is refused, what is told, and the optuna.Study inside."""

from __future__ import annotations

import inspect
import pickle
import re
import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest

import aiauto
from aiauto import config

if TYPE_CHECKING:
    from pathlib import Path

SEED_KEYS = {
    "study_name",
    "count_active",
    "count_succeeded",
    "count_pruned",
    "count_failed",
    "count_total",
    "count_completed",
    "dashboard_url",
    "last_error",
    "updated_at",
}


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def slow(trial: optuna.Trial) -> float:
    time.sleep(0.3)
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name, direction="minimize")


# ------------------------------------------------------------------------------------ optimize


def test_the_signature_is_that_of_the_released_client() -> None:
    parameters = inspect.signature(aiauto.StudyWrapper.optimize).parameters
    by_place = {
        name: one.default
        for name, one in parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD and name != "self"
    }
    assert by_place == {
        "objective": inspect.Parameter.empty,
        "n_trials": 10,
        "parallelism": 2,
        "requirements_file": None,
        "requirements_list": None,
        "resources_requests": None,
        "resources_limits": None,
        "runtime_image": None,
        "use_gpu": False,
        "gpu_model": None,
        "wait_option": aiauto.WaitOption.WAIT_ATLEAST_ONE_TRIAL,
        "wait_timeout": 600,
        "dev_shm_size": "500Mi",
        "tmp_cache_dir": "/mnt/tmp-cache",
        "use_tmp_cache_mem": False,
        "tmp_cache_size": "500Mi",
        "top_n_artifacts": 5,
        "image_pull_registry": None,
        "image_pull_username": None,
        "image_pull_password": None,
        "image_pull_docker_config_json": None,
    }


@pytest.mark.parametrize(
    ("changed", "kind", "argument"),
    [
        ({"n_trials": 0}, ValueError, "n_trials"),
        ({"n_trials": -1}, ValueError, "n_trials"),
        ({"n_trials": "10"}, TypeError, "n_trials"),
        ({"n_trials": True}, TypeError, "n_trials"),
        ({"n_trials": 1.5}, TypeError, "n_trials"),
        ({"parallelism": 0}, ValueError, "parallelism"),
        ({"objective": 3}, TypeError, "objective"),
        ({"objective": "objective"}, TypeError, "objective"),
        (
            {"requirements_file": "r.txt", "requirements_list": ["numpy"]},
            ValueError,
            "requirements_file",
        ),
        ({"requirements_file": "nowhere.txt"}, FileNotFoundError, "requirements_file"),
        ({"resources_limits": {"cpu": 1}}, TypeError, "resources_limits"),
        ({"wait_option": "WAIT_FOREVER"}, ValueError, "wait_option"),
        ({"wait_timeout": 0}, ValueError, "wait_timeout"),
        ({"gpu_model": "no-such-model", "use_gpu": True}, ValueError, "gpu_model"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    study: aiauto.StudyWrapper, changed: dict[str, Any], kind: type[Exception], argument: str
) -> None:
    given: dict[str, Any] = {"objective": objective, "n_trials": 1, "parallelism": 1, **changed}
    with pytest.raises(kind, match=argument) as caught:
        study.optimize(**given)
    assert isinstance(caught.value, aiauto.ArgumentError)
    assert caught.value.argument == argument
    assert study.get_status()["trialbatches"] == {}


def test_the_call_of_the_seed(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing to install\n", encoding="utf-8")
    name = study.optimize(
        objective=objective,
        n_trials=4,
        parallelism=2,
        requirements_file=str(requirements),
        resources_requests={"cpu": "256m", "memory": "256Mi"},
        use_gpu=False,
        runtime_image=aiauto.RUNTIME_IMAGES[0],
    )
    assert isinstance(name, str)
    # By default it returns when the first trial has ended.
    assert study.get_status(name)["count_completed"] >= 1
    assert study.wait(timeout=60)
    assert study.get_status(name)["count_succeeded"] == 4


def test_not_waiting(study: aiauto.StudyWrapper) -> None:
    study.optimize(slow, 3, 1, wait_option=aiauto.WaitOption.WAIT_NO)
    status = study.get_status()
    assert status["count_completed"] < status["count_total"] == 3
    assert study.wait(timeout=60)


# -------------------------------------------------------------------------------------- status


def test_the_status_has_the_keys_of_the_seed(study: aiauto.StudyWrapper) -> None:
    empty = study.get_status()
    assert empty.keys() == SEED_KEYS | {"trialbatches"}
    assert empty["count_total"] == empty["count_completed"] == 0
    assert empty["trialbatches"] == {}
    assert empty["study_name"] == study.study_name
    assert "/dashboard" in empty["dashboard_url"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", empty["updated_at"])


def test_the_nested_form_of_the_released_client(study: aiauto.StudyWrapper) -> None:
    name = study.optimize(objective, 2, 1, wait_option="WAIT_ALL_TRIALS")
    without = study.get_status(trialbatch_name=name)["trialbatches"][name]
    assert "completed_trials" not in without
    batch = study.get_status(include_trials=True)["trialbatches"][name]
    assert batch["trialbatch_name"] == name
    assert batch["phase"] == "Succeeded"
    assert {"TRIAL_BATCH_CONDITION_COMPLETE"} <= {
        one["type"] for one in batch["conditions"] if one["status"] == "True"
    }
    trials = batch.get("completed_trials", {})
    assert sorted(trial["trialNumber"] for trial in trials.values()) == [0, 1]
    values = {trial.number: trial.value for trial in study.get_study().trials}
    for trial in trials.values():
        assert trial["value"] == values[trial["trialNumber"]]
        assert trial["state"] == "COMPLETE"
        assert trial["podName"]
        assert trial["startTime"] <= trial["endTime"]
        assert trial["error"] == ""


def test_the_status_of_an_unknown_batch(study: aiauto.StudyWrapper) -> None:
    with pytest.raises(aiauto.NotFoundError, match="nowhere"):
        study.get_status("nowhere")
    with pytest.raises(aiauto.ArgumentTypeError, match="include_trials"):
        study.get_status(include_trials="yes")  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------- waiting


def test_there_must_be_something_to_wait_for(study: aiauto.StudyWrapper) -> None:
    with pytest.raises(aiauto.NoTrialBatchError, match=r"call optimize\(\) first"):
        study.wait()


def test_waiting_for_every_batch(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper
) -> None:
    study.optimize(slow, 3, 1, wait_option="WAIT_NO")
    study.optimize(objective, 1, 1, wait_option="WAIT_NO")
    # Another script knows neither of them.
    assert controller.create_study(study.study_name, "minimize").wait(timeout=60)
    assert study.get_status()["count_completed"] == 4
    assert study.wait(timeout=1)


def test_waiting_shows_a_bar_where_it_is_asked_for(
    study: aiauto.StudyWrapper, capsys: pytest.CaptureFixture[str]
) -> None:
    study.optimize(objective, 2, 1)
    assert study.wait(timeout=60)
    assert capsys.readouterr().err == ""
    assert study.wait(timeout=60, show_progress_bar=True)
    assert f"{study.study_name}: 100%" in capsys.readouterr().err


def test_waiting_for_a_trial(
    study: aiauto.StudyWrapper, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.TRIAL_PATIENCE == 600
    name = study.optimize(slow, 3, 1, wait_option="WAIT_NO")
    assert study.is_trial_finished(2) is False
    assert study.wait(2, timeout=0.2) is False
    assert "trial 2 of study" in caplog.text
    # One trial is not waited for without end, unless that is asked for.
    with monkeypatch.context() as patch:
        patch.setattr(config, "TRIAL_PATIENCE", 0.01)
        assert study.wait(2) is False
        assert study.wait(0, timeout=None) is True
    assert study.wait(1, timeout=60) is True
    assert study.is_trial_finished(1, name) is True
    assert study.wait(trial_identifier=2, trialbatch_name=name) is True
    batch = study.get_status(include_trials=True)["trialbatches"][name]
    for key in batch.get("completed_trials", {}):
        assert study.is_trial_finished(key) is True
        assert study.wait(key) is True
    assert study.wait(3) is False
    assert "trial 3 has not ended, and no batch" in caplog.text
    with pytest.raises(aiauto.ArgumentValueError, match=r"is a batch: .* pass trialbatch_name"):
        study.wait(name)
    with pytest.raises(aiauto.ArgumentTypeError, match="trial_identifier must be the number"):
        study.is_trial_finished(1.5)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- optuna.Study


def test_it_is_an_optuna_study(study: aiauto.StudyWrapper) -> None:
    inner = study.get_study()
    assert isinstance(inner, optuna.Study)
    assert inner is study.get_study()
    assert inner.study_name == study.study_name
    assert inner.direction is optuna.study.StudyDirection.MINIMIZE
    assert inner.trials == []


def test_ask_and_tell(study: aiauto.StudyWrapper) -> None:
    inner = study.get_study()
    for value in (3.0, 1.0, 2.0):
        trial = inner.ask()
        trial.suggest_float("x", 0, 1)
        inner.tell(trial, value)
    assert study.best_value == 1.0
    assert study.best_trial.number == 1
    assert study.best_params == inner.trials[1].params
    assert [trial.number for trial in study.best_trials] == [1]
    attributes = [trial.user_attrs for trial in inner.trials]
    assert attributes == [{"trialbatch_name": "ask_tell_local"}] * 3
    assert study.get_status()["count_total"] == 0


def test_ask_with_distributions_and_enqueued_trials(study: aiauto.StudyWrapper) -> None:
    inner = study.get_study()
    x = optuna.distributions.FloatDistribution(0, 1)
    inner.enqueue_trial({"x": 0.5})
    assert inner.ask({"x": x}).params == {"x": 0.5}
    assert inner.ask(fixed_distributions={"x": x}).params.keys() == {"x"}
    inner.optimize(objective, n_trials=2)
    assert [trial.user_attrs["trialbatch_name"] for trial in inner.trials] == ["ask_tell_local"] * 4


def test_the_best_is_fresh_each_time(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper
) -> None:
    with pytest.raises(ValueError, match=r"[Nn]o trials|not exist"):
        _ = study.best_value
    other = pickle.loads(pickle.dumps(study)).get_study()
    for value in (2.0, 1.0):
        trial = other.ask()
        other.tell(trial, value)
        assert study.best_value == value
    assert controller.get_storage() is not None


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_sampler_and_pruner_of_the_study(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    inner = controller.create_study(
        study_name,
        sampler=optuna.samplers.RandomSampler(seed=3),
        pruner=optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), patience=4),
    ).get_study()
    assert isinstance(inner.sampler, optuna.samplers.RandomSampler)
    assert isinstance(inner.pruner, optuna.pruners.PatientPruner)


def test_the_study_may_travel(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper
) -> None:
    inner = study.get_study()
    inner.tell(inner.ask(), 1.0)
    pickled = pickle.dumps(inner)
    assert controller.token.encode() not in pickled
    copied = pickle.loads(pickled)
    assert isinstance(copied, optuna.Study)
    assert copied.best_value == 1.0

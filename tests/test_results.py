"""What a study has found: trials, tables, the best of several, and what notebooks show of it."""

from __future__ import annotations

import pickle
import time
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import pytest

import aiauto

if TYPE_CHECKING:
    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
State = optuna.trial.TrialState


def draw(trial: optuna.Trial) -> float:
    time.sleep(0.02)
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


def test_every_enqueued_trial_is_run_exactly_once(study: aiauto.StudyWrapper) -> None:
    study.enqueue_trial({"x": 0.0}, user_attrs={"who": "me"})
    study.enqueue_trial({"x": 0.0}, skip_if_exists=True)
    assert [trial.state for trial in study.trials] == [State.WAITING]
    study.optimize(draw, 60, 3)
    wanted = [number / 100 for number in range(1, 21)]
    # While three workers take what they find, and another script enqueues as well.
    other = pickle.loads(pickle.dumps(study))
    for number, value in enumerate(wanted):
        (study, other)[number % 2].enqueue_trial({"x": value})
    assert study.wait(timeout=60)
    trials = study.trials
    assert len(trials) == study.get_status()["count_succeeded"] == 60
    assert {trial.state for trial in trials} == {State.COMPLETE}
    enqueued = [trial for trial in trials if "fixed_params" in trial.system_attrs]
    assert sorted(trial.params["x"] for trial in enqueued) == [0.0, *wanted]
    assert all(trial.params == trial.system_attrs["fixed_params"] for trial in enqueued)
    assert enqueued[0].user_attrs["who"] == "me"


def test_what_a_batch_leaves_the_next_one_runs(study: aiauto.StudyWrapper) -> None:
    for value in (0.25, 0.5, 0.75):
        study.enqueue_trial({"x": value, "unused": 3})
    study.optimize(draw, 2, 1, wait_option=ALL)
    assert [trial.state for trial in study.trials] == [State.COMPLETE] * 2 + [State.WAITING]
    study.optimize(draw, 2, 1, wait_option=ALL)
    assert [trial.params["x"] for trial in study.trials][:3] == [0.25, 0.5, 0.75]
    assert study.get_status()["count_total"] == 4


def test_a_trial_may_be_tried_again(study: aiauto.StudyWrapper) -> None:
    study.optimize(draw, 3, 1, wait_option=ALL)
    best = study.best_trial
    # As scripts for the released client do it.
    study.enqueue_trial(best)
    study.optimize(draw, 1, 1, wait_option=ALL)
    assert study.trials[3].params == best.params
    wrong: Any
    for wrong in (None, [1.0], "x"):
        with pytest.raises(aiauto.ArgumentTypeError, match="params must be a dict") as caught:
            study.enqueue_trial(wrong)
        assert caught.value.argument == "params"
    assert len(study.trials) == 4


def test_a_table(study: aiauto.StudyWrapper) -> None:
    inner = study.get_study()
    for value in (2.0, 1.0):
        trial = inner.ask()
        trial.suggest_float("x", 0, 1)
        inner.tell(trial, value)
    # Neither pandas nor Optuna's table has types that a checker knows.
    table: Any = study.trials_dataframe()
    theirs: Any = inner
    pd.testing.assert_frame_equal(table, theirs.trials_dataframe())
    assert list(table["value"]) == [2.0, 1.0]
    small: Any = study.trials_dataframe(("number", "params"), multi_index=True)
    assert list(small.columns) == [("number", ""), ("params", "x")]


def test_several_objectives(controller: aiauto.AIAutoController, study_name: str) -> None:
    study = controller.create_study(study_name, directions=["minimize", "maximize"])
    inner = study.get_study()
    for values in ((1.0, 1.0), (2.0, 2.0), (2.0, 0.5)):
        inner.tell(inner.ask(), values)
    assert [trial.values for trial in study.best_trials] == [[1.0, 1.0], [2.0, 2.0]]
    assert len(study.trials) == 3
    with pytest.raises(RuntimeError):
        _ = study.best_trial


def test_the_best_of_several_objectives_is_shown_live(
    controller: aiauto.AIAutoController, study_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        return float(trial.number), float(trial.number)

    study = controller.create_study(study_name, directions=["minimize", "maximize"])
    study.optimize(objective, 3, 1, wait_option=ALL, show_progress_bar=True)
    assert "best=(0, 2), running=0, failed=0" in capsys.readouterr().err


def test_a_study_in_a_notebook(study: aiauto.StudyWrapper) -> None:
    empty = study._repr_html_()
    assert empty is not None
    assert study.study_name in empty
    assert "<svg" not in empty
    study.optimize(draw, 3, 1, wait_option=ALL)
    shown = study._repr_html_()
    assert shown is not None
    assert shown.count("<circle") == 3
    assert "3 of 3 trials (3 succeeded)" in shown

    def html_of(status: object) -> str:
        return str(getattr(status, "_repr_html_")())  # noqa: B009 - no part of its type

    assert "<circle" not in html_of(study.get_status())
    assert html_of(study.get_status(include_trials=True)).count("<circle") == 3


def test_a_study_in_a_notebook_without_its_server(server: EmbeddedServer, study_name: str) -> None:
    study = aiauto.AIAutoController(server.token, server.url).create_study(study_name)
    study.delete()
    assert study._repr_html_() is None
    assert study.study_name in repr(study)

"""Batches that end before their trials have, and trials that are run again: with real workers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import psutil
import pytest

import aiauto

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
State = optuna.trial.TrialState


def draw(trial: optuna.Trial) -> float:
    time.sleep(0.05)
    return trial.suggest_float("x", 0, 1)


def always_the_same(trial: optuna.Trial) -> float:
    trial.suggest_float("x", 0, 1)
    return 1.0


class Sleeper:
    """Sleeps for ever, and leaves the process id of its worker where a test finds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __call__(self, trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        Path(self.folder, str(os.getpid())).touch()
        time.sleep(600)
        return 0.0

    def processes(self, count: int) -> list[psutil.Process]:
        """Waits until so many sleep."""
        until(lambda: len(list(Path(self.folder).iterdir())) == count)
        return [psutil.Process(int(path.name)) for path in Path(self.folder).iterdir()]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def batch_of(study: aiauto.StudyWrapper, name: str) -> aiauto.TrialBatchStatusWithTrials:
    return study.get_status(name, include_trials=True)["trialbatches"][name]


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


# ------------------------------------------------------------------------------ early ends


def test_the_time_of_a_batch_is_up(study: aiauto.StudyWrapper) -> None:
    name = study.optimize(draw, 100_000, 2, wait_option=ALL, wait_timeout=60, timeout=6)
    batch = batch_of(study, name)
    assert (batch["phase"], batch["stop_reason"]) == ("Succeeded", "Timeout")
    assert 0 < batch["count_total"] < 100_000
    # What ran when the time was up has come to its end.
    assert batch["count_succeeded"] == batch["count_total"] == len(study.trials)
    assert {trial.state for trial in study.trials} == {State.COMPLETE}


def test_a_search_that_finds_nothing_better(study: aiauto.StudyWrapper) -> None:
    name = study.optimize(always_the_same, 100, 2, wait_option=ALL, patience=5)
    batch = batch_of(study, name)
    assert batch["stop_reason"] == "NoImprovement"
    # The first one is better than nothing; of two workers one may be in the middle of a trial.
    assert 6 <= batch["count_succeeded"] == batch["count_total"] <= 7


def test_an_objective_may_end_its_batch(study: aiauto.StudyWrapper) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 3:
            trial.study.stop()
        return trial.suggest_float("x", 0, 1)

    name = study.optimize(objective, 100, 1, wait_option=ALL)
    batch = batch_of(study, name)
    assert (batch["stop_reason"], batch["count_total"]) == ("StoppedByObjective", 4)
    assert batch["count_succeeded"] == 4


# --------------------------------------------------------------------------------- retries


def test_failed_trials_are_run_again_with_their_parameters(study: aiauto.StudyWrapper) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        if trial.number % 2 == 0:
            message = "even numbers fail"
            raise ValueError(message)
        return x

    name = study.optimize(objective, 4, 2, wait_option=ALL, max_retries=5)
    batch = batch_of(study, name)
    assert (batch["count_succeeded"], batch["count_failed"]) == (4, 0)
    assert "even numbers fail" in batch["last_error"]
    trials = study.trials
    again = [trial for trial in trials if "failed_trial" in trial.system_attrs]
    assert len(again) == len(trials) - 4 == sum(one.state is State.FAIL for one in trials) > 0
    for trial in again:
        failed: int = trial.system_attrs["failed_trial"]
        assert trial.params == trials[failed].params
    assert State.WAITING not in {trial.state for trial in trials}


def test_a_trial_that_takes_too_long_is_ended_and_run_again(
    study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 0:
            Path(folder, str(os.getpid())).touch()
            time.sleep(600)
        return x

    name = study.optimize(objective, 3, 1, wait_option=ALL, trial_timeout=2, max_retries=1)
    (path,) = tmp_path.iterdir()
    assert not psutil.pid_exists(int(path.name))
    batch = batch_of(study, name)
    assert (batch["count_succeeded"], batch["count_failed"]) == (3, 0)
    assert "longer than trial_timeout allows" in batch["last_error"]
    first, *others = study.trials
    assert first.state is State.FAIL
    assert [trial.params for trial in others].count(first.params) == 1


def test_without_retries_it_counts_as_failed(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path)
    with pytest.raises(aiauto.TrialBatchFailedError, match="longer than trial_timeout allows"):
        study.optimize(sleeper, 1, 1, wait_option=ALL, trial_timeout=0.5)
    (trial,) = batch_of(study, next(iter(study.get_status()["trialbatches"])))[
        "completed_trials"
    ].values()
    assert (trial["state"], trial["reason"]) == ("FAIL", "Timeout")


def test_a_trial_that_was_ended_from_outside_does_not_go_on(
    study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    sleeper = Sleeper(tmp_path)
    study.enqueue_trial({"x": 0.5})
    study.optimize(sleeper, 1, 1, wait_option="WAIT_NO", max_retries=1)
    (process,) = sleeper.processes(1)
    # The batch goes on with the second attempt: it is this trial that is over.
    study.get_study().tell(0, state=State.FAIL)
    process.wait(timeout=60)
    until(lambda: study.trials[1].params == {"x": 0.5})
    study.cancel()


# ------------------------------------------------------------------------ cancel and delete


def test_cancelling(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path)
    done = study.optimize(draw, 2, 1, wait_option=ALL)
    names = [study.optimize(sleeper, 5, 1, wait_option="WAIT_NO") for _ in range(2)]
    processes = sleeper.processes(2)
    ended: list[bool] = []
    waiting = threading.Thread(target=lambda: ended.append(study.wait(timeout=60)))
    waiting.start()

    study.cancel(names[0])
    assert batch_of(study, names[1])["phase"] == "Running"
    study.cancel()
    assert not any(process.is_running() for process in processes)
    waiting.join(60)
    # Whoever waits is not told of a failure that was wanted.
    assert ended == [True]
    for name in names:
        batch = batch_of(study, name)
        assert (batch["stop_reason"], batch["count_total"]) == ("Cancelled", 1)
        (trial,) = batch["completed_trials"].values()
        assert (trial["state"], trial["reason"]) == ("FAIL", "Cancelled")
        assert trial["error"] == "The batch was cancelled."
    assert batch_of(study, done)["stop_reason"] == ""
    # Nothing is left to cancel, and that is no error; what ended stays as it is.
    study.cancel()
    study.cancel(done)
    assert batch_of(study, done)["phase"] == "Succeeded"
    # The study goes on.
    study.optimize(draw, 3, 1, wait_option=ALL)
    status = study.get_status()
    assert status["count_total"] == status["count_completed"] == 2 + 1 + 1 + 3
    assert (status["count_succeeded"], status["count_failed"]) == (5, 2)


def test_only_batches_of_this_study_can_be_cancelled(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    other = controller.create_study(f"{study.study_name}-other")
    name = other.optimize(Sleeper(tmp_path), 1, 1, wait_option="WAIT_NO")
    for unknown in (name, "nowhere"):
        with pytest.raises(aiauto.NotFoundError, match=unknown):
            study.cancel(unknown)
    with pytest.raises(aiauto.ArgumentTypeError, match="trialbatch_name"):
        study.cancel(3)  # type: ignore[arg-type]
    assert batch_of(other, name)["stop_reason"] == ""
    other.delete()


def test_deleting(
    controller: aiauto.AIAutoController, study: aiauto.StudyWrapper, tmp_path: Path
) -> None:
    sleeper = Sleeper(tmp_path)
    study.optimize(sleeper, 5, 1, wait_option="WAIT_NO")
    (process,) = sleeper.processes(1)
    assert len(study.trials) == 1
    study.delete()
    assert not process.is_running()
    with pytest.raises(aiauto.NotFoundError):
        study.get_status()
    with pytest.raises(KeyError):
        _ = study.trials
    assert study._repr_html_() is None
    study.delete()
    anew = controller.create_study(study.study_name, "maximize")
    assert anew.trials == []
    assert anew.get_status()["count_total"] == 0

"""Every combination once with real workers, whatever happens to them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync

import aiauto
from aiauto.connect import SyncTransport

if TYPE_CHECKING:
    from pathlib import Path

    from aiauto.testing import EmbeddedServer

pytestmark = pytest.mark.once

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
State = optuna.trial.TrialState


def conditional(trial: optuna.Trial) -> float:
    """Nine combinations."""
    model = trial.suggest_categorical("model", ["svm", "tree", "linear"])
    time.sleep(0.05)
    if model == "svm":
        trial.suggest_categorical("kernel", ["rbf", "poly"])
        time.sleep(0.05)
        trial.suggest_categorical("degree", [2, 3, 4])
    if model == "tree":
        return trial.suggest_categorical("depth", [0.5, 1.0])
    return 1.0


def combinations(study: aiauto.StudyWrapper, *states: State) -> Counter[str]:
    trials = study.get_study().get_trials(states=states or None)
    return Counter(repr(sorted(trial.params.items())) for trial in trials)


def statuses(server: EmbeddedServer, study_name: str) -> list[v1.TrialBatchStatus]:
    with SyncTransport(server.url, token=server.token) as transport:
        request = v1.GetStatusRequest(study_name=study_name)
        answer = AIAutoServiceClientSync(transport).get_status(request)
    return list(answer.trialbatches.values())


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name, sampler=aiauto.ExhaustiveCategoricalSampler(seed=1))


def test_many_workers_try_everything_once(
    study: aiauto.StudyWrapper, server: EmbeddedServer
) -> None:
    study.optimize(conditional, 200, 6, wait_option=ALL, wait_timeout=120)
    counts = combinations(study)
    assert len(counts) == 9
    assert set(counts.values()) == {1}
    (status,) = statuses(server, study.study_name)
    assert status.phase == "Succeeded"
    assert status.stop_reason == "SearchSpaceExhausted"
    assert status.count_total == status.count_succeeded == 9
    assert status.last_error == ""
    # Nothing is left: another batch, and the user's own program, find nothing to do.
    study.optimize(conditional, 5, 2, wait_option=ALL, wait_timeout=60)
    status = statuses(server, study.study_name)[1]
    assert (status.phase, status.count_total) == ("Succeeded", 0)
    with pytest.raises(aiauto.SearchSpaceExhausted):
        study.get_study().ask()


def test_a_study_that_goes_on(study: aiauto.StudyWrapper, server: EmbeddedServer) -> None:
    study.optimize(conditional, 4, 2, wait_option=ALL, wait_timeout=60)
    trial = study.get_study().ask()
    study.get_study().tell(trial, conditional(trial))
    study.optimize(conditional, 100, 3, wait_option=ALL, wait_timeout=60)
    counts = combinations(study)
    assert len(counts) == 9
    assert set(counts.values()) == {1}
    totals = [(one.count_total, one.stop_reason) for one in statuses(server, study.study_name)]
    assert totals == [(4, ""), (4, "SearchSpaceExhausted")]


def test_what_a_dead_worker_was_at_is_tried_by_another(
    study: aiauto.StudyWrapper, server: EmbeddedServer, tmp_path: Path
) -> None:
    died = tmp_path / "died"

    def objective(trial: optuna.Trial) -> float:
        value = conditional(trial)
        if trial.params.get("kernel") == "poly" and trial.params.get("degree") == 3:
            try:
                died.touch(exist_ok=False)
            except FileExistsError:
                return value
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.params == {"model": "linear"}:
            message = "linear is not for me"
            raise ValueError(message)
        return value

    study.optimize(objective, 100, 3, wait_option=ALL, wait_timeout=120)
    counts = combinations(study, State.COMPLETE)
    assert len(counts) == 8
    assert set(counts.values()) == {1}
    # The one that raised had its turn, and one was lost.
    failed = study.get_study().get_trials(states=[State.FAIL])
    assert len(failed) == 2
    (status,) = statuses(server, study.study_name)
    assert (status.count_succeeded, status.count_failed, status.count_total) == (8, 2, 10)
    assert (status.phase, status.stop_reason) == ("Succeeded", "SearchSpaceExhausted")


def test_what_is_not_categorical_is_refused(study: aiauto.StudyWrapper) -> None:
    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_categorical("a", [1, 2]) * trial.suggest_float("rate", 0, 1)

    with pytest.raises(aiauto.TrialBatchFailedError, match=r"'rate' is a FloatDistribution"):
        study.optimize(objective, 50, 2, wait_option=ALL, wait_timeout=60)
    # Each had its turn, and there are only two.
    assert study.get_status()["count_total"] == 2


def test_an_objective_without_parameters(study: aiauto.StudyWrapper) -> None:
    study.optimize(lambda _: 1.0, 50, 2, wait_option=ALL, wait_timeout=60)
    assert study.get_status()["count_total"] == 1


def test_a_forgotten_trial_of_the_users_program_stops_nobody(
    study: aiauto.StudyWrapper,
) -> None:
    ours: Any = study.get_study()
    ours.ask()
    forgotten = ours.ask()
    taken = forgotten.suggest_categorical("a", [1, 2, 3])

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_categorical("a", [1, 2, 3])

    study.optimize(objective, 50, 3, wait_option=ALL, wait_timeout=60)
    values = [trial.params["a"] for trial in ours.get_trials(states=[State.COMPLETE])]
    assert sorted(values) == sorted({1, 2, 3} - {taken})

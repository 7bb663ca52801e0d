"""Workers as the server starts them: real processes on a real server."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import optuna
import psutil
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import LogServiceClientSync

import aiauto
from aiauto import config
from aiauto.connect import SyncTransport
from aiauto.connection import connect_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiauto.controller import Direction
    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
State = optuna.trial.TrialState


def errors(study: aiauto.StudyWrapper) -> list[str]:
    status = study.get_status(include_trials=True)
    batches = status["trialbatches"].values()
    trials = [one for batch in batches for one in batch.get("completed_trials", {}).values()]
    return [one["error"] for one in sorted(trials, key=lambda one: one["trialNumber"])]


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


def run(study: aiauto.StudyWrapper, objective: Any, n_trials: int, parallelism: int = 1) -> str:
    try:
        return study.optimize(objective, n_trials, parallelism, wait_option=ALL, wait_timeout=120)
    except aiauto.TrialBatchFailedError as error:
        return error.trialbatch_name


def test_what_an_objective_may_do_wrong(study: aiauto.StudyWrapper) -> None:  # noqa: C901
    def objective(trial: optuna.Trial) -> Any:  # noqa: C901, PLR0911 - each case one
        x = trial.suggest_float("x", 0, 1)
        match trial.number:
            case 0:
                return None
            case 1:
                return "0.5"
            case 2:
                return float("nan")
            case 3:
                return x, x
            case 4:
                sys.exit("gone")
            case 5:
                raise KeyboardInterrupt
            case 6:
                trial.study.tell(trial, 1.5)
                return x
            case 7:
                raise optuna.exceptions.UpdateFinishedTrialError("of a study of my own")
            case 8:
                trial.report(0.25, 1)
                raise optuna.TrialPruned
            case 9:
                trial.set_user_attr("bad", object())
                return x
            case _:
                return True

    run(study, objective, 11)
    trials = study.get_study().trials
    assert [trial.state for trial in trials] == [
        *[State.FAIL] * 6,
        State.COMPLETE,
        State.FAIL,
        State.PRUNED,
        State.FAIL,
        State.COMPLETE,
    ]
    assert [trials[number].value for number in (6, 8, 10)] == [1.5, 0.25, 1.0]
    told = errors(study)
    for number, text in {
        0: "The value None could not be cast to float",
        1: "The value '0.5' could not be cast to float",
        2: "The value nan is not acceptable",
        3: "The number of the values 2 did not match the number of the objectives 1",
        4: "SystemExit: gone",
        5: "KeyboardInterrupt",
        7: "of a study of my own",
        9: "not JSON serializable",
    }.items():
        assert text in told[number]
    # The traceback begins with the user's own code.
    assert told[4].splitlines()[1].endswith("in objective")
    status = study.get_status()
    assert (status["count_succeeded"], status["count_pruned"], status["count_failed"]) == (2, 1, 8)
    # One worker went through it all.
    assert len({trial.user_attrs["pod_name"] for trial in trials}) == 1


def test_what_is_no_text_of_an_objective(
    study: aiauto.StudyWrapper, server: EmbeddedServer
) -> None:
    """As the names of files are that are not UTF-8."""

    class Odd:
        def __repr__(self) -> str:
            return "<caf\udce9>"

    def objective(trial: optuna.Trial) -> Any:
        x = trial.suggest_float("x\udce9", 0, 1)
        trial.set_user_attr("caf\udce9", "caf\udce9.txt")
        match trial.number:
            case 0:
                raise FileNotFoundError("caf\udce9.txt")
            case 1:
                return Odd()
            case _:
                print("printed", "caf\udce9.txt")
                print("warned", "caf\udce9.txt", file=sys.stderr)
                aiauto.TrialController(trial).log("noted caf\udce9.txt")
                return x

    batch = run(study, objective, 3)
    assert [trial.state for trial in study.get_study().trials] == [
        State.FAIL,
        State.FAIL,
        State.COMPLETE,
    ]
    told = errors(study)
    assert told[0].endswith("\nFileNotFoundError: caf\\udce9.txt")
    assert told[1].startswith("The value <caf\\udce9> could not be cast to float")
    assert study.get_study().best_trial.user_attrs["caf\udce9"] == "caf\udce9.txt"
    # The last lines come when the worker ends.
    deadline = time.monotonic() + 10
    while "noted" not in str(lines := lines_of(server, batch)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shown = [line.text for line in lines if line.trial_number == 2]
    assert sorted(shown) == [f"{one} caf\\udce9.txt" for one in ("noted", "printed", "warned")]


SEEDED: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(seed=1),
    "tpe": lambda: optuna.samplers.TPESampler(seed=1, n_startup_trials=4),
    "tpe multivariate": lambda: optuna.samplers.TPESampler(
        seed=1, n_startup_trials=4, multivariate=True, group=True
    ),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=1),
    "nsgaii": lambda: optuna.samplers.NSGAIISampler(seed=1, population_size=4),
    "nsgaiii": lambda: optuna.samplers.NSGAIIISampler(seed=1, population_size=4),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=1, n_startup_trials=2),
    "cmaes with margin": lambda: optuna.samplers.CmaEsSampler(seed=1, popsize=5, with_margin=True),
    "partial fixed": lambda: optuna.samplers.PartialFixedSampler(
        {"y": 3}, optuna.samplers.TPESampler(seed=1, n_startup_trials=4)
    ),
}


def test_a_parameter_keeps_its_kind(study: aiauto.StudyWrapper) -> None:
    def with_floats(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    def changed(trial: optuna.Trial) -> float:
        chosen = trial.suggest_int("x", 0, 3)
        print("went on")
        return chosen

    run(study, with_floats, 1)
    failed = run(study, changed, 1)
    # At its own line, as Optuna does it, and not when hours of training are over.
    assert 'chosen = trial.suggest_int("x", 0, 3)' in errors(study)[1]
    assert "different distribution kind" in errors(study)[1]
    assert "went on" not in [line.text for line in study.logs(trialbatch_name=failed)]
    assert study.trials[1].params == {}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", SEEDED)
def test_one_worker_with_a_seed_does_what_optuna_does(
    controller: aiauto.AIAutoController, study_name: str, name: str
) -> None:
    def objective(trial: optuna.Trial) -> Any:
        x, y = trial.suggest_float("x", -5, 5), trial.suggest_int("y", 0, 9)
        if name.startswith("nsga"):
            return x * x + y, (x - 2) ** 2 - y
        for step in range(4):
            trial.report((x - 1) ** 2 + y / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        if trial.number == 5:
            message = "what fails is no different"
            raise ValueError(message)
        return (x - 1) ** 2 + y

    sampler, n_trials = SEEDED[name](), 24
    directions: list[Direction] = ["minimize"] * (2 if name.startswith("nsga") else 1)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    ours = controller.create_study(
        study_name, directions=directions, sampler=sampler, pruner=pruner
    )
    run(ours, objective, n_trials)
    theirs = optuna.create_study(directions=directions, sampler=sampler, pruner=pruner)
    theirs.optimize(objective, n_trials=n_trials, catch=ValueError)

    def told(trials: list[optuna.trial.FrozenTrial]) -> list[Any]:
        return [(one.state, one.params, one.values, one.intermediate_values) for one in trials]

    assert told(ours.get_study().trials) == told(theirs.trials)


@pytest.mark.parametrize("name", ["random", "tpe", "qmc", "nsgaii", "cmaes"])
def test_workers_with_one_seed_draw_different_parameters(
    controller: aiauto.AIAutoController, study_name: str, name: str
) -> None:
    two = name.startswith("nsga")
    directions: list[Direction] = ["minimize"] * (2 if two else 1)
    study = controller.create_study(study_name, directions=directions, sampler=SEEDED[name]())

    def objective(trial: optuna.Trial) -> Any:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        time.sleep(0.05)  # so that every worker gets some
        return (x, y) if two else x + y

    run(study, objective, 12, parallelism=3)
    run(study, objective, 4, parallelism=1)
    drawn = study.get_study().trials
    if name == "nsgaii":  # children may inherit a value: what was drawn at random counts
        drawn = drawn[:4]
    for parameter in ("x", "y"):
        assert len({trial.params[parameter] for trial in drawn}) == len(drawn)


class BrokenSampler(optuna.samplers.RandomSampler):
    def before_trial(self, *_: Any, **__: Any) -> None:
        message = "this sampler is broken"
        raise RuntimeError(message)


def test_a_broken_sampler_fails_the_batch(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name, sampler=BrokenSampler())
    with pytest.raises(aiauto.TrialBatchFailedError, match="this sampler is broken"):
        study.optimize(lambda _: 1.0, 50, 1, wait_option=ALL, wait_timeout=60)
    status = study.get_status()
    assert status["count_failed"] == status["count_total"] == 50
    assert State.RUNNING not in [trial.state for trial in study.get_study().trials]


class Unloadable:
    def __call__(self, _trial: optuna.Trial) -> float:
        return 1.0

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    message = "not on this machine"
    raise OSError(message)


def test_an_objective_that_does_not_load_fails_the_batch_at_once(
    study: aiauto.StudyWrapper,
) -> None:
    with pytest.raises(aiauto.TrialBatchFailedError) as caught:
        study.optimize(Unloadable(), 5, 2, wait_option=ALL, wait_timeout=60)
    assert "The objective can't be loaded on the worker: OSError('not on this machine')" in str(
        caught.value
    )
    assert "in _refuse" in str(caught.value)
    assert study.get_study().trials == []


def lines_of(server: EmbeddedServer, batch: str) -> list[v1.LogLine]:
    with SyncTransport(server.url, token=server.token) as transport:
        request = v1.StreamLogsRequest(trialbatch_name=batch, follow=True)
        with LogServiceClientSync(transport).stream_logs(request) as stream:
            return [line for answer in stream for line in answer.lines]


def test_what_is_printed_reaches_the_server(
    study: aiauto.StudyWrapper, server: EmbeddedServer
) -> None:
    def objective(trial: optuna.Trial) -> float:
        print("hello from", trial.number)
        print("half ", end="")
        print("a line\r100%", file=sys.stdout)
        print("no line break", end="", file=sys.stderr)
        if trial.number == 1:
            message = "told as well"
            raise ValueError(message)
        return 1.0

    batch = run(study, objective, 2)
    # The last lines come when the worker ends.
    deadline = time.monotonic() + 10
    while "told as well" not in str(lines := lines_of(server, batch)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first = [(line.stream, line.text) for line in lines if line.trial_number == 0]
    assert first == [
        (v1.LogStream.STDOUT, "hello from 0"),
        (v1.LogStream.STDOUT, "100%"),
        (v1.LogStream.STDERR, "no line break"),
    ]
    second = [line for line in lines if line.trial_number == 1]
    assert "hello from 1" in [line.text for line in second]
    assert "ValueError: told as well" in [line.text for line in second]


def test_a_stopped_worker_gives_its_trial_up(study: aiauto.StudyWrapper, tmp_path: Path) -> None:
    marker = tmp_path / "pid"

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            marker.write_text(str(os.getpid()))
            time.sleep(60)
        return 1.0

    batch = study.optimize(objective, 3, 1, wait_option="WAIT_NO")
    deadline = time.monotonic() + 60
    while not marker.exists() or not marker.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = psutil.Process(int(marker.read_text()))
    worker.send_signal(signal.SIGTERM)
    assert study.wait(trialbatch_name=batch, timeout=60)
    states = [trial.state for trial in study.get_study().trials]
    assert states == [State.FAIL, State.COMPLETE, State.COMPLETE]
    assert "stopped" in errors(study)[0]


def test_a_killed_worker_is_replaced(study: aiauto.StudyWrapper) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    run(study, objective, 4)
    states = [trial.state for trial in study.get_study().trials]
    assert states == [State.COMPLETE, State.FAIL, State.COMPLETE, State.COMPLETE]
    assert "SIGKILL" in errors(study)[1]
    assert study.get_study().trials[1].params.keys() <= {"x"}


def test_a_worker_that_leaves_its_trial(study: aiauto.StudyWrapper, server: EmbeddedServer) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            print("about to leave", flush=True)
            os._exit(0)
        return 1.0

    batch = run(study, objective, 3)
    states = [trial.state for trial in study.trials]
    assert states == [State.COMPLETE, State.FAIL, State.COMPLETE]
    assert "ended by itself, with exit code 0, before its work was done" in errors(study)[1]
    service = connect_to(config.resolve(server.token, server.url)).service
    deadline = time.monotonic() + 30
    while True:
        pods = service.list_trial_batch_pods(v1.ListTrialBatchPodsRequest(trialbatch_name=batch))
        told = {pod.phase: (pod.reason, pod.message) for pod in pods.pods}
        if told.keys() == {"Succeeded", "Failed"}:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert told["Failed"][0] == "LeftItsTrial"
    assert told["Succeeded"] == ("Completed", "")


def test_who_takes_the_place_of_a_dead_worker_draws_anew(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = controller.create_study(study_name, sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if trial.number in {1, 3}:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    run(study, objective, 6)
    run(study, objective, 2)
    drawn = study.get_study().get_trials(states=[State.COMPLETE])
    assert len({trial.user_attrs["pod_name"] for trial in drawn}) == 4
    assert len({trial.params["x"] for trial in drawn}) == len(drawn) == 6


def test_an_enqueued_trial_is_run_by_a_worker(study: aiauto.StudyWrapper) -> None:
    study.get_study().enqueue_trial({"x": 0.125})

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    batch = run(study, objective, 2)
    trials = study.get_study().trials
    assert trials[0].params == {"x": 0.125}
    assert {trial.user_attrs["trialbatch_name"] for trial in trials} == {batch}
    assert {trial.state for trial in trials} == {State.COMPLETE}

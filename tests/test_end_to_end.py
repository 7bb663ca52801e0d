"""The main job through every room of the house: real server, real workers, real trials."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import optuna
import psutil
import pytest

import aiauto

if TYPE_CHECKING:
    from pathlib import Path

    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
State = optuna.trial.TrialState


def parabola(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", -10, 10)
    return (x - 2) ** 2 + (y - 3) ** 2


def explode(x: float) -> float:
    try:
        return x / 0
    except ZeroDivisionError as error:
        message = "the model exploded"
        raise ArithmeticError(message, x > 2) from error


def failing(trial: optuna.Trial) -> float:
    secret_of_the_trial = trial.suggest_float("x", 0, 1)
    return explode(secret_of_the_trial)


def half_failing(trial: optuna.Trial) -> float:
    if trial.number % 2:
        message = "odd numbers are not for me"
        raise ValueError(message)
    return trial.suggest_float("x", 0, 1)


def pruned(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    for step in range(5):
        trial.report(x, step)
        if trial.number % 2 and step == 2:
            raise optuna.TrialPruned
    return x


def slow(trial: optuna.Trial) -> float:
    time.sleep(0.1)
    return trial.suggest_float("x", 0, 1)


def two_values(trial: optuna.Trial) -> tuple[float, float]:
    x = trial.suggest_float("x", 0, 1)
    return x, 1 - x


def test_a_hundred_trials(controller: aiauto.AIAutoController, study_name: str) -> None:
    study = controller.create_study(study_name, direction="minimize")
    name = study.optimize(parabola, n_trials=100, parallelism=4, wait_option=ALL)

    status = study.get_status()
    assert {key: value for key, value in status.items() if key.startswith("count_")} == {
        "count_active": 0,
        "count_succeeded": 100,
        "count_pruned": 0,
        "count_failed": 0,
        "count_total": 100,
        "count_completed": 100,
    }
    assert status["study_name"] == study_name
    assert status["last_error"] == ""
    assert status["trialbatches"][name]["phase"] == "Succeeded"

    trials = study.get_study().trials
    assert [trial.number for trial in trials] == list(range(100))
    assert {trial.state for trial in trials} == {State.COMPLETE}
    assert len({trial.params["x"] for trial in trials}) == 100
    best = min(trials, key=lambda trial: trial.value or 0)
    assert study.best_trial.number == best.number
    assert study.best_value == best.value
    assert study.best_params == best.params
    assert {trial.user_attrs["trialbatch_name"] for trial in trials} == {name}


def test_a_second_batch_adds_up(controller: aiauto.AIAutoController, study_name: str) -> None:
    study = controller.create_study(study_name, direction="maximize")
    first = study.optimize(parabola, n_trials=3, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    before = study.best_value
    second = study.optimize(parabola, n_trials=5, parallelism=2, wait_option="WAIT_ALL_TRIALS")
    assert first != second
    status = study.get_status()
    assert status["count_total"] == status["count_completed"] == 8
    assert list(status["trialbatches"]) == [first, second]
    assert study.get_status(second)["count_total"] == 5
    assert study.best_value >= before


def test_a_failing_objective_shows_its_traceback(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name)
    with pytest.raises(aiauto.TrialBatchFailedError) as caught:
        study.optimize(failing, n_trials=3, parallelism=2, wait_option=ALL)
    text = str(caught.value)
    assert "3 of 3 failed" in text
    assert "ArithmeticError: ('the model exploded', False)" in text
    # Every frame of the user's own, with its line, and the cause.
    assert "in failing\n    return explode(secret_of_the_trial)" in text
    assert "in explode\n    raise ArithmeticError(message, x > 2) from error" in text
    assert "ZeroDivisionError: " in text
    assert "direct cause" in text
    assert "aiauto/runner" not in text

    status = study.get_status()
    assert status["count_failed"] == status["count_completed"] == status["count_total"] == 3
    assert "the model exploded" in status["last_error"]
    assert caught.value.last_error == status["last_error"]
    assert [trial.state for trial in study.get_study().trials] == [State.FAIL] * 3
    with pytest.raises(aiauto.TrialBatchFailedError, match="the model exploded"):
        study.wait()
    with pytest.raises(ValueError, match=r"[Nn]o trials|not exist"):
        _ = study.best_trial


def test_a_few_failures_are_told_once_each(
    controller: aiauto.AIAutoController, study_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = controller.create_study(study_name)
    with caplog.at_level(logging.WARNING, "aiauto"):
        study.optimize(half_failing, n_trials=10, parallelism=2, wait_option=ALL)
    told = [record.getMessage() for record in caplog.records if "odd numbers" in record.message]
    assert 1 <= len(told) <= 5
    assert all("ValueError: odd numbers are not for me" in text for text in told)
    status = study.get_status()
    assert (status["count_succeeded"], status["count_failed"]) == (5, 5)
    assert "odd numbers are not for me" in status["last_error"]
    assert study.best_trial.number % 2 == 0


def test_pruning(controller: aiauto.AIAutoController, study_name: str) -> None:
    study = controller.create_study(study_name, pruner=optuna.pruners.NopPruner())
    study.optimize(pruned, n_trials=8, parallelism=2, wait_option=ALL)
    status = study.get_status()
    assert (status["count_succeeded"], status["count_pruned"]) == (4, 4)
    trials = study.get_study().get_trials(states=(State.PRUNED,))
    assert all(list(trial.intermediate_values) == [0, 1, 2] for trial in trials)


def test_several_objectives(controller: aiauto.AIAutoController, study_name: str) -> None:
    study = controller.create_study(study_name, direction=["minimize", "minimize"])
    study.optimize(two_values, n_trials=6, parallelism=2, wait_option=ALL)
    assert len(study.best_trials) == 6
    assert all(len(trial.values) == 2 for trial in study.best_trials)
    with pytest.raises(RuntimeError):
        _ = study.best_value


def test_the_sampler_and_pruner_reach_the_workers(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    grid = optuna.samplers.GridSampler({"x": [0.25, 0.5, 0.75]}, seed=1)
    study = controller.create_study(study_name, sampler=grid)
    study.optimize(slow, n_trials=3, parallelism=1, wait_option=ALL)
    assert sorted(trial.params["x"] for trial in study.get_study().trials) == [0.25, 0.5, 0.75]


def test_every_local_way_to_write_an_objective(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    factor = 3.0
    study = controller.create_study(study_name)
    study.optimize(lambda trial: factor * trial.suggest_int("x", 1, 1), 1, 1, wait_option=ALL)
    assert study.best_value == 3.0


def test_an_objective_may_use_its_study(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name)
    inner = study.get_study()

    def objective(trial: optuna.Trial) -> float:
        # On the worker all three speak with the worker's own rights.
        trial.set_user_attr("seen", len(inner.trials))
        trial.set_user_attr("seen_again", len(study.get_study().trials))
        trial.set_user_attr("address", controller.base_url)
        return trial.suggest_float("x", 0, 1)

    study.optimize(objective, n_trials=2, parallelism=1, wait_option=ALL)
    for number, trial in enumerate(inner.trials, start=1):
        assert trial.user_attrs["seen"] == trial.user_attrs["seen_again"] == number
        assert trial.user_attrs["address"] == controller.base_url


def test_threads_may_submit_at_the_same_time(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name)

    def submit(factor: int) -> str:
        return study.optimize(lambda trial: factor * trial.suggest_int("x", 1, 1), 2, 1)

    with ThreadPoolExecutor(3) as pool:
        names = list(pool.map(submit, range(3)))
    assert study.wait(timeout=60)
    status = study.get_status()
    assert status["trialbatches"].keys() == set(names)
    assert status["count_succeeded"] == 6
    values = sorted(trial.value or 0.0 for trial in study.get_study().trials)
    assert values == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


async def test_inside_an_event_loop_as_in_a_notebook(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    study = controller.create_study(study_name)
    study.optimize(parabola, 2, 1, wait_option=ALL)
    assert study.best_trial.state is State.COMPLETE


def test_everything_is_there_after_a_crash(own_server: EmbeddedServer) -> None:
    ac = aiauto.AIAutoController()
    study = ac.create_study("crash", direction="minimize")
    study.optimize(parabola, n_trials=50, parallelism=4, wait_option=ALL)
    before, status = study.get_study().trials, study.get_status()
    own_server.kill()

    after = study.get_status()
    expected: dict[str, object] = {**status}
    for changing in ("updated_at", "dashboard_url"):
        expected[changing] = after.get(changing)
    assert after == expected
    assert after["count_succeeded"] == 50
    assert study.get_study().trials == before
    script = (
        "import aiauto\n"
        "study = aiauto.AIAutoController().create_study('crash', direction='minimize')\n"
        "print(study.best_trial.number, len(study.get_study().trials))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(study.best_trial.number), "50"]
    # And it goes on.
    study.optimize(parabola, n_trials=4, parallelism=2, wait_option=ALL)
    assert study.get_status()["count_succeeded"] == 54


def test_a_crash_in_the_middle_of_a_batch(own_server: EmbeddedServer) -> None:
    study = aiauto.AIAutoController().create_study("crash")
    study.optimize(slow, n_trials=40, parallelism=2)
    assert study.get_status()["count_completed"] < 40
    own_server.kill()
    assert study.wait(timeout=90)
    status = study.get_status()
    assert status["count_total"] == status["count_completed"] == 40
    # A trial whose worker did not outlive the server is lost; the others are not.
    assert status["count_succeeded"] >= 36
    states = [trial.state for trial in study.get_study().trials]
    assert states.count(State.COMPLETE) == status["count_succeeded"]
    assert State.RUNNING not in states


def test_two_scripts_share_a_server(
    tmp_path: Path, embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, aiauto\n"
        "def objective(trial):\n"
        "    return trial.suggest_float('x', 0, 1)\n"
        "study = aiauto.AIAutoController().create_study('shared')\n"
        "study.optimize(objective, n_trials=int(sys.argv[1]), parallelism=1,\n"
        "               wait_option='WAIT_ALL_TRIALS')\n",
        encoding="utf-8",
    )
    scripts = [
        subprocess.Popen([sys.executable, str(script), n], env=embedded_environment)
        for n in ("5", "7")
    ]
    assert [process.wait(120) for process in scripts] == [0, 0]
    status = aiauto.AIAutoController().create_study("shared").get_status()
    assert status["count_succeeded"] == status["count_total"] == 12
    assert len(status["trialbatches"]) == 2
    assert own_server.is_running()


def started(folder: Path, environment: dict[str, str], text: str) -> subprocess.Popen[str]:
    """A script as a user starts it, in a session of its own so that Ctrl-C is for it alone."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_an_interrupted_submission_tells_that_the_batch_may_run(
    tmp_path: Path, embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    process = started(
        tmp_path,
        embedded_environment,
        "import aiauto, sys\n"
        "study = aiauto.AIAutoController().create_study('interrupted')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "study.optimize(lambda trial: 1.0, n_trials=1)\n",
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    server = psutil.Process(own_server.pid)
    server.suspend()  # it answers nothing now
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=30)
    finally:
        server.resume()
    assert process.returncode == -signal.SIGINT
    assert "it may run all the same" in shown
    assert shown.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("by", ["wait", "wait for a trial", "optimize"])
def test_an_interrupted_wait_tells_how_to_go_on(
    tmp_path: Path, embedded_environment: dict[str, str], own_server: EmbeddedServer, by: str
) -> None:
    waits = {
        "wait": "study.optimize(objective, n_trials=20, parallelism=2)\nstudy.wait()\n",
        "wait for a trial": "name = study.optimize(objective, n_trials=20, parallelism=2)\n"
        "study.wait(19, name)\n",
        "optimize": "study.optimize(objective, n_trials=20, parallelism=2,\n"
        "               wait_option='WAIT_ALL_TRIALS')\n",
    }
    process = started(
        tmp_path,
        embedded_environment,
        "import time, aiauto\n"
        "def objective(trial):\n"
        "    time.sleep(0.2)\n"
        "    return trial.suggest_float('x', 0, 1)\n"
        "study = aiauto.AIAutoController().create_study('interrupted')\n"
        f"print('ready', flush=True)\n{waits[by]}",
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    study = aiauto.AIAutoController().create_study("interrupted")
    while study.get_status()["count_completed"] < 2:
        time.sleep(0.05)
    (name,) = study.get_status()["trialbatches"]
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert f"wait(trialbatch_name='{name}') waits again" in shown
    assert f"cancel(trialbatch_name='{name}') ends it" in shown
    assert shown.rstrip().endswith("KeyboardInterrupt")
    assert own_server.is_running()
    # As it says.
    assert study.wait(trialbatch_name=name, timeout=60)
    assert study.get_status()["count_succeeded"] == 20


def test_a_second_interruption_ends_at_once(
    tmp_path: Path, embedded_environment: dict[str, str], own_server: EmbeddedServer
) -> None:
    process = started(
        tmp_path,
        embedded_environment,
        "import aiauto\n"
        "study = aiauto.AIAutoController().create_study('interrupted')\n"
        "def objective(trial):\n"
        "    import time\n"
        "    time.sleep(600)\n"
        "study.optimize(objective, n_trials=1, wait_option='WAIT_NO')\n"
        "print('ready', flush=True)\n"
        "study.wait()\n",
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)
    server = psutil.Process(own_server.pid)
    # It answers nothing now, not even that somebody no longer listens.
    server.suspend()
    try:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):  # once may have been enough
            os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=10)
    finally:
        server.resume()
    assert process.returncode == -signal.SIGINT
    assert shown.rstrip().endswith("KeyboardInterrupt")
    study = aiauto.AIAutoController().create_study("interrupted")
    while study.get_status()["count_active"] < 1:  # the batch runs on
        time.sleep(0.1)
    study.cancel()

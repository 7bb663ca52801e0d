"""Objectives that start processes of their own, and save what their scripts define."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aiauto

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    import optuna

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS

SCRIPT = """
    import multiprocessing
    import pickle
    import sys

    import aiauto

    METHOD, SAVED = sys.argv[1:]

    class Model:
        def __init__(self, x):
            self.x = x

    def train(model):
        return Model(2 * model.x)

    def objective(trial):
        x = trial.suggest_float("x", 1, 2)
        with multiprocessing.get_context(METHOD).Pool(2) as pool:
            models = pool.map(train, [Model(x), Model(x)])
        assert [type(model) for model in models] == [Model, Model]
        with open(f"{SAVED}-{trial.number}", "wb") as file:
            pickle.dump(models, file)
        return sum(model.x for model in models) / x

    if __name__ == "__main__":
        study = aiauto.AIAutoController().create_study("processes")
        study.optimize(objective, 2, 2, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
        with open(f"{SAVED}-0", "rb") as file:
            assert [type(model) for model in pickle.load(file)] == [Model, Model]
        print([trial.value for trial in study.trials])
    """


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_what_a_script_defines_is_found_by_its_processes(
    method: str, tmp_path: Path, embedded_environment: dict[str, str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    # The address of a fork server is a path in there, and must not be long.
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            [sys.executable, str(script), method, str(tmp_path / "saved")],
            env={**embedded_environment, "TMPDIR": temporary},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "[4.0, 4.0]\n"
        # What such processes were started with goes with the worker.
        assert list(Path(temporary).glob("aiauto-main-*")) == []


def square(x: float) -> float:
    return x * x


def test_pools_end(controller: aiauto.AIAutoController, study_name: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        # Some of its processes are told to end when they have hardly begun.
        for _ in range(5):
            with multiprocessing.get_context("fork").Pool(3) as pool:
                assert pool.map(square, [x]) == [x * x]
        return x

    study = controller.create_study(study_name)
    study.optimize(objective, 6, 2, wait_option=ALL, wait_timeout=120)
    assert study.get_status()["count_succeeded"] == 6


def begin_and_sleep(begun: Event) -> None:
    begun.set()
    time.sleep(600)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_fork_and_not_its_worker(
    number: signal.Signals, controller: aiauto.AIAutoController, study_name: str
) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        fork = multiprocessing.get_context("fork")
        begun = fork.Event()
        process = fork.Process(target=begin_and_sleep, args=(begun,))
        process.start()
        begun.wait(60)
        os.kill(process.pid or 0, number)
        process.join(60)
        return float(process.exitcode or 0)

    study = controller.create_study(study_name)
    study.optimize(objective, 3, 1, wait_option=ALL, wait_timeout=120)
    assert study.get_status()["count_succeeded"] == 3
    # Python ends with 1 where it is interrupted, and by a signal that it has no handler for.
    expected = 1.0 if number == signal.SIGINT else -float(number)
    assert {trial.value for trial in study.trials} == {expected}


def end_with_42(_number: int, _frame: object) -> None:
    os._exit(42)


def test_a_handler_of_the_objective_is_its_forks_too(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        before = signal.signal(signal.SIGTERM, end_with_42)
        try:
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            process.start()
        finally:
            signal.signal(signal.SIGTERM, before)
        process.terminate()
        process.join(60)
        return float(process.exitcode or 0)

    study = controller.create_study(study_name)
    study.optimize(objective, 1, 1, wait_option=ALL, wait_timeout=120)
    assert [trial.value for trial in study.trials] == [42.0]

"""What the batches run that the tests look at."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

import aiauto

if TYPE_CHECKING:
    from collections.abc import Callable


def varied(trial: optuna.Trial) -> float:
    """Ends in every way that a trial can end in, and prints."""
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 8)
    trial.suggest_categorical("optimizer", ["adam", "sgd"])
    for epoch in range(3):
        print(f"epoch {epoch}: loss {rate * layers:.4f}")
        trial.report(rate * layers, epoch)
        if trial.number % 5 == 3 and epoch == 1:
            raise optuna.TrialPruned
    print("the learning rate is <b>small</b>", file=sys.stderr)
    if trial.number % 5 == 4:
        message = "the model exploded & <i>burned</i>"
        raise ValueError(message)
    path = aiauto.tmp_cache_dir() / "model.txt"
    path.write_text(f"weights of trial {trial.number}\n")
    aiauto.AIAutoController().upload_artifact(trial, path)
    return rate * layers


def two_values(trial: optuna.Trial) -> tuple[float, float]:
    x = trial.suggest_float("x", 0, 1)
    return x, 1 - x


def leaves_a_thread(trial: optuna.Trial) -> float:
    """The worker's process outlives its last trial, and its batch, by some seconds."""
    threading.Thread(target=threading.Event().wait).start()
    return trial.suggest_float("x", 0, 1)


def numbered(trial: optuna.Trial) -> float:
    """Values that are known before."""
    return 1.234567 * trial.number


def long_numbers(trial: optuna.Trial) -> float:
    """Numbers of more digits than a page has room for, and whole ones."""
    trial.suggest_categorical("batch", [16_777_216])
    trial.suggest_categorical("large", [2**53 + 1])
    trial.suggest_categorical("rate", [0.123456789])
    trial.suggest_categorical("seed", [20_241_130])
    return (16_777_216.0, -20_241_130.0, 1_234_567.89, 123_456.789, 12e12, 1 / 3, 1e20)[
        trial.number
    ]


def two_numbers(trial: optuna.Trial) -> tuple[float, float]:
    return trial.number + 0.5, trial.number + 100.5


def heavy(trial: optuna.Trial) -> float:
    """Leaves a mebibyte and a half."""
    path = aiauto.tmp_cache_dir() / "weights.bin"
    path.write_bytes(bytes(3 * 2**19))
    aiauto.AIAutoController().upload_artifact(trial, path)
    return 0.0


def deadly(trial: optuna.Trial) -> float:
    """The first trial takes its worker along."""
    if trial.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def gated(folder: Path) -> Callable[[optuna.Trial], float]:
    """An objective whose trials each wait for a file of their number."""
    name = str(folder)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        print(f"trial {trial.number} waits", flush=True)
        while not (Path(name) / str(trial.number)).exists():
            time.sleep(0.05)
        print(f"trial {trial.number} goes on", flush=True)
        return x

    return objective


def noted(folder: Path) -> Callable[[optuna.Trial], float]:
    """An objective that leaves a note and a file with each trial, once there is a file for it."""
    wait = gated(folder)

    def objective(trial: optuna.Trial) -> float:
        value = wait(trial)
        aiauto.TrialController(trial).log(f"kept the weights of {trial.number}")
        path = aiauto.tmp_cache_dir() / "weights.txt"
        path.write_text(f"weights of trial {trial.number}\n")
        aiauto.AIAutoController().upload_artifact(trial, path)
        return value

    return objective


def failing_first(folder: Path) -> Callable[[optuna.Trial], float]:
    """An objective that leaves a file with each trial, and raises in the first."""
    leave = noted(folder)

    def objective(trial: optuna.Trial) -> float:
        value = leave(trial)
        if trial.number == 0:
            message = "the model exploded"
            raise ValueError(message)
        return value

    return objective

"""What is measured: from the call to the end of the first trial, and a bare import beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import aiauto

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import optuna

IMPORT = "import optuna"


def constant(trial: optuna.Trial) -> float:
    """An objective that takes no time."""
    return trial.suggest_float("x", 0, 1)


def import_optuna() -> float:
    """Seconds that a Python takes to start, to import Optuna, and to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import optuna"], check=True)
    return time.perf_counter() - began


def first_trial(study: aiauto.StudyWrapper) -> float:
    """Seconds from `optimize` to the end of the batch's first and only trial."""
    began = time.perf_counter()
    study.optimize(constant, 1, 1, wait_option=aiauto.WaitOption.WAIT_ALL_TRIALS)
    return time.perf_counter() - began


def compete(
    studies: Mapping[str, aiauto.StudyWrapper], rounds: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Measure all in turns, so that what else the machine does falls on all alike.

    Args:
        studies: A study on each server, by what is said of it.
        rounds: How often.
        say: Told what was measured.

    Returns:
        Seconds of every round; the same place in a list is the same round.
    """
    for study in studies.values():
        first_trial(study)  # the servers are warm from now on
    found: dict[str, list[float]] = {IMPORT: [], **{name: [] for name in studies}}
    for _ in range(rounds):
        found[IMPORT].append(import_optuna())
        for name, study in studies.items():
            found[name].append(first_trial(study))
        say("  ".join(f"{name}: {times[-1]:.2f} s" for name, times in found.items()) + "\n")
    return found

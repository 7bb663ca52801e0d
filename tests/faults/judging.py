"""What must be true of a batch when it is over, whatever has happened to it."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

    import aiauto

# Workers that have learnt that their batch is over have so long to end.
END_SECONDS = 30.0


def noting(notes: Path, longest: float = 0.15) -> Callable[[optuna.Trial], float]:
    """An objective whose every worker notes what it is about to return.

    Args:
        notes: Where to.
        longest: Seconds that a trial takes at most.
    """

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(3):
            trial.report(x, step)
            time.sleep(random.SystemRandom().uniform(0, longest) / 3)
        with (notes / str(os.getpid())).open("a", encoding="utf-8") as file:
            file.write(f"{trial.number} {x!r}\n")
        return x

    return objective


def with_a_trial_that(
    bad: Callable[[], None], which: int, notes: Path
) -> Callable[[optuna.Trial], float]:
    """`noting`, but for one trial, which does something first.

    Args:
        bad: What it does.
        which: Its number.
        notes: Where to note.
    """
    good = noting(notes)

    def objective(trial: optuna.Trial) -> float:
        if trial.number == which:
            bad()
        return good(trial)

    return objective


def at_work(study: aiauto.StudyWrapper, chance: random.Random, n_trials: int) -> None:
    """Wait for a moment at which the only batch of a study is at work, with many trials to come.

    A fault that strikes before or after that is none, and its round would prove nothing.

    Args:
        study: The study.
        chance: Draws the moment, by how many trials are over.
        n_trials: How many trials were asked for.
    """
    done = chance.randint(0, n_trials // 2)
    while True:
        status = study.get_status()
        assert status["count_completed"] < n_trials, "it was over before the fault could strike"
        if status["count_completed"] >= done and status["count_active"] > 0:
            break
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.03))


def some_worker(data_dir: Path, batch_name: str, chance: random.Random) -> psutil.Process:
    """A worker of a batch, as soon as there is one."""
    while not (workers := workers_in(data_dir, batch_name)):
        time.sleep(0.01)
    return chance.choice(sorted(workers, key=lambda one: one.pid))


def workers_in(data_dir: Path, batch_name: str = "") -> list[psutil.Process]:
    """The processes that run in the folders of a server's workers, or of those of one batch."""
    forks = fork_servers_in(data_dir)
    return [one for one in _processes_in(data_dir / "batches" / batch_name) if one not in forks]


def fork_servers_in(data_dir: Path) -> list[psutil.Process]:
    """The processes that workers of a server are forked from."""
    return _processes_in(data_dir / "batches" / ".forks")


def _processes_in(folder: Path) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and (
                process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def acknowledged(notes: Path) -> dict[int, float]:
    """The results that workers know to be saved: each of them has begun another trial since."""
    results: dict[int, float] = {}
    for file in notes.iterdir():
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
        results.update({int(number): float(value) for number, value in lines[:-1]})
    return results


def judge(
    study: aiauto.StudyWrapper,
    batch_name: str,
    n_trials: int,
    *,
    notes: Path,
    data_dir: Path,
    may_fail: int = 0,
    may_run_again: int = 0,
    may_be_late: int = 0,
) -> int:
    """Assert that a batch, the only one of its study, has ended as it must.

    Args:
        study: Its study.
        batch_name: The batch.
        n_trials: How many trials were asked for.
        notes: What its workers noted, by `noting`.
        data_dir: Where its server keeps its data.
        may_fail: How many trials the fault may have cost.
        may_run_again: How many trials it may have cut off that were run again.
        may_be_late: How many results its workers may have told so late that they did not count, and
            gone on all the same. They were not acknowledged.

    Returns:
        How many it has cost.
    """
    status: Any = study.get_status(batch_name, include_trials=True)["trialbatches"][batch_name]
    counts = {name: status[f"count_{name}"] for name in ("succeeded", "pruned", "failed")}
    assert status["count_total"] == n_trials
    assert (status["count_active"], status["count_completed"]) == (0, n_trials)
    assert sum(counts.values()) == n_trials
    assert counts["failed"] <= may_fail, status["last_error"]
    told = {
        one["trialNumber"]: one["state"]
        for one in status["completed_trials"].values()
        if one["trialNumber"] >= 0  # a right to run a trial may be lost before one has begun
    }
    assert len(status["completed_trials"]) == n_trials
    trials = study.get_study().trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    states = {trial.number: trial.state.name for trial in trials}
    cut_off = [number for number in states if number not in told]
    assert len(cut_off) <= may_run_again
    assert {states.pop(number) for number in cut_off} <= {"FAIL"}
    assert states == told
    assert all(trial.state.is_finished() for trial in trials), "nothing runs for ever"
    complete = {trial.number: trial.value for trial in trials if trial.state == TrialState.COMPLETE}
    assert len(complete) == counts["succeeded"]
    lost = [
        number for number, value in acknowledged(notes).items() if complete.get(number) != value
    ]
    assert len(lost) <= may_be_late, f"lost: {lost}"
    assert not set(lost) & complete.keys()
    deadline = time.monotonic() + END_SECONDS
    # Servers that were killed have left theirs, which end with what they have forked.
    while (left := workers_in(data_dir, batch_name)) or len(fork_servers_in(data_dir)) > 1:
        assert time.monotonic() < deadline, f"left: {left}, {fork_servers_in(data_dir)}"
        time.sleep(0.05)
    cost: int = counts["failed"]
    return cost

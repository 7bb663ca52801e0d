"""A server that is stopped in order costs nobody a trial; one that is told twice ends at once."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from optuna.samplers import RandomSampler

import aiauto
from aiauto.testing import embedded_server
from tests.faults.judging import at_work, judge, noting, workers_in
from tests.faults.rounds import every_round

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import optuna

    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them"),
]

N_TRIALS = 30


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIAUTO_DRAIN_TIMEOUT", "2")
        with embedded_server() as running:
            yield running


@pytest.fixture
def study(server: EmbeddedServer, study_name: str) -> aiauto.StudyWrapper:
    controller = aiauto.AIAutoController(server.token, server.url)
    return controller.create_study(study_name, sampler=RandomSampler())


@every_round
def test_trials_that_end_soon_are_waited_for(
    server: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    batch = study.optimize(noting(notes), N_TRIALS, 2, wait_option="WAIT_NO")
    at_work(study, chance, N_TRIALS)
    server.stop()
    server.start()
    assert study.wait(timeout=120)
    judge(study, batch, N_TRIALS, notes=notes, data_dir=server.data_dir)


def waiting_for(gate: Path, notes: Path) -> Callable[[optuna.Trial], float]:
    note = noting(notes)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        while not gate.exists():
            time.sleep(0.05)
        return note(trial)

    return objective


@every_round
def test_trials_that_are_cut_off_run_again_and_count_as_none(
    server: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    tmp_path: Path,
    number: int,
) -> None:
    gate = tmp_path / "gate"
    batch = study.optimize(waiting_for(gate, notes), 6, 2, wait_option="WAIT_NO")
    while study.get_status()["count_active"] < 2:
        time.sleep(0.05)
    time.sleep(chance.uniform(0, 1.5))
    server.stop()
    gate.touch()
    server.start()
    assert study.wait(timeout=120)
    judge(study, batch, 6, notes=notes, data_dir=server.data_dir, may_run_again=2)
    trials = study.get_study().trials
    again = [trial for trial in trials if "failed_trial" in trial.system_attrs]
    for trial in again:
        cut_off: int = trial.system_attrs["failed_trial"]
        assert trials[cut_off].params.items() <= trial.params.items()
    assert study.get_status()["last_error"] == ""


@every_round
def test_who_says_it_twice_does_not_wait(
    study_name: str,
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    notes: Path,
    tmp_path: Path,
    number: int,
) -> None:
    gate = tmp_path / "gate"
    # It would wait for its trials for longer than this test.
    monkeypatch.setenv("AIAUTO_DRAIN_TIMEOUT", "3600")
    with embedded_server() as server:
        controller = aiauto.AIAutoController(server.token, server.url)
        study = controller.create_study(study_name, sampler=RandomSampler())
        batch = study.optimize(waiting_for(gate, notes), 6, 2, wait_option="WAIT_NO")
        while study.get_status()["count_active"] < 2:
            time.sleep(0.05)
        workers = workers_in(server.data_dir, batch)
        process = psutil.Process(server.pid)
        process.send_signal(signal.SIGTERM)
        time.sleep(chance.uniform(0.2, 1.5))
        assert process.is_running()
        process.send_signal(chance.choice([signal.SIGTERM, signal.SIGINT]))
        process.wait(timeout=60)
        _, left = psutil.wait_procs(workers, timeout=60)
        assert not left
        gate.touch()
        server.start()
        assert study.wait(timeout=120)
        judge(study, batch, 6, notes=notes, data_dir=server.data_dir, may_fail=2)

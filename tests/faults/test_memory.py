"""Workers that run out of memory, by the kernel's hand or by Python's: it is told apart."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from optuna.samplers import RandomSampler

import aiauto
from aiauto.server.executors.memory import Group, Memory
from aiauto.testing import embedded_server
from tests.faults.judging import END_SECONDS, judge, noting, with_a_trial_that, workers_in
from tests.faults.rounds import every_round

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's"),
]

in_groups = pytest.mark.skipif(
    not Memory().can_limit, reason="this system lets the tests make no control groups"
)

N_TRIALS = 12
LIMIT = {"memory": "300Mi"}


def takes_all() -> None:
    """Real memory, until there is none."""
    taken: list[bytearray] = []
    while True:
        taken.append(bytearray(os.urandom(1024)) * 1024)


def takes_all_of_its_address_space() -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + 64 * 1024 * 1024, limits[1]))
    try:
        takes_all()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def failed(study: aiauto.StudyWrapper, batch: str) -> list[tuple[str, str]]:
    """Reason and error of each trial that has failed."""
    status: Any = study.get_status(batch, include_trials=True)["trialbatches"][batch]
    return [
        (one["reason"], one["error"])
        for one in status["completed_trials"].values()
        if one["state"] == "FAIL"
    ]


def groups_of(batch: str) -> list[str]:
    """The control groups of a batch's workers."""
    parent = Memory().parent
    return [] if parent is None else [one.name for one in parent.glob(f"aiauto-{batch}-*")]


def expect_no_groups(batch: str) -> None:
    """They go soon after the workers."""
    deadline = time.monotonic() + END_SECONDS
    while left := groups_of(batch):
        assert time.monotonic() < deadline, f"left: {left}"
        time.sleep(0.05)


@in_groups
@every_round
def test_a_worker_that_takes_more_than_it_may(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    objective = with_a_trial_that(takes_all, chance.randrange(N_TRIALS), notes)
    batch = study.optimize(
        objective,
        N_TRIALS,
        2,
        wait_option="WAIT_ALL_TRIALS",
        wait_timeout=120,
        resources_limits=LIMIT,
    )
    cost = judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=1)
    assert cost == 1
    ((reason, error),) = failed(study, batch)
    assert reason == "OutOfMemory"
    assert "resources_limits allows it 300 MiB" in error
    expect_no_groups(batch)


@in_groups
@every_round
def test_a_worker_with_a_limit_that_somebody_kills_was_not_out_of_memory(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    batch = study.optimize(
        noting(notes), N_TRIALS, 1, wait_option="WAIT_NO", resources_limits=LIMIT
    )
    while study.get_status()["count_active"] == 0:
        time.sleep(0.01)
    (worker,) = workers_in(impatient.data_dir, batch)
    assert groups_of(batch)
    time.sleep(chance.uniform(0, 0.3))
    worker.send_signal(signal.SIGKILL)
    assert study.wait(timeout=120)
    judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=1)
    assert {reason for reason, _ in failed(study, batch)} <= {"WorkerEnded"}
    expect_no_groups(batch)


@in_groups
@every_round
def test_the_server_is_killed_while_a_worker_runs_out_of_memory(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    tmp_path: Path,
    number: int,
) -> None:
    """Nobody is told how it ended, but the kernel has counted it."""
    gate = tmp_path / "gate"

    def at_the_gate() -> None:
        gate.with_suffix(".reached").touch()
        while not gate.exists():
            time.sleep(0.01)
        takes_all()

    objective = with_a_trial_that(at_the_gate, chance.randrange(3), notes)
    batch = study.optimize(objective, N_TRIALS, 1, wait_option="WAIT_NO", resources_limits=LIMIT)
    while not gate.with_suffix(".reached").exists():
        time.sleep(0.01)
    impatient.kill()
    impatient.start()
    opening = threading.Timer(chance.uniform(0, 1), gate.touch)
    opening.start()
    assert study.wait(timeout=120)
    opening.join()
    judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=1)
    assert [reason for reason, _ in failed(study, batch)] == ["OutOfMemory"]
    expect_no_groups(batch)


@in_groups
def test_a_limit_that_is_too_low_to_begin_with_ends_the_batch(
    study: aiauto.StudyWrapper, notes: Path
) -> None:
    batch = study.optimize(
        noting(notes), 2, 1, wait_option="WAIT_NO", resources_limits={"memory": "4Mi"}
    )
    with pytest.raises(aiauto.TrialBatchFailedError):
        study.wait(timeout=120)
    status = study.get_status(batch)["trialbatches"][batch]
    assert (status["phase"], status["count_failed"]) == ("Failed", 2)
    assert "ended before they could run a trial" in status["last_error"]
    assert "resources_limits allows it 4 MiB" in status["last_error"]


@every_round
def test_python_gets_no_more_memory(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    """The trial fails as any that raises; its worker goes on."""
    which = chance.randrange(N_TRIALS)
    objective = with_a_trial_that(takes_all_of_its_address_space, which, notes)
    batch = study.optimize(objective, N_TRIALS, 2, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
    cost = judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=1)
    assert cost == 1
    ((reason, error),) = failed(study, batch)
    assert reason == "Error"
    assert "MemoryError\n\nThe worker could get no more memory" in error
    assert len(list(notes.iterdir())) <= 2, "no worker had to be replaced"


@in_groups
@every_round
def test_what_the_server_and_its_workers_share_runs_out(
    study_name: str, chance: random.Random, notes: Path, number: int
) -> None:
    """As in a container with a limit: the kernel kills whoever has most."""
    parent = Memory().parent
    assert parent is not None
    with embedded_server() as server:
        shared = Group(parent / f"aiauto-test-{server.pid}")
        shared.folder.mkdir()
        try:
            shared.limit(500 * 2**20)
            shared.add(server.pid)
            study = aiauto.AIAutoController(server.token, server.url).create_study(
                study_name, sampler=RandomSampler()
            )
            objective = with_a_trial_that(takes_all, chance.randrange(N_TRIALS), notes)
            batch = study.optimize(
                objective, N_TRIALS, 2, wait_option="WAIT_ALL_TRIALS", wait_timeout=120
            )
            cost = judge(study, batch, N_TRIALS, notes=notes, data_dir=server.data_dir, may_fail=1)
            assert cost == 1
            ((reason, error),) = failed(study, batch)
            assert reason == "OutOfMemory"
            assert "The machine was out of memory" in error
        finally:
            server.stop()
            shared.remove()

"""Workers that are killed, suspended, or that hang: others take their place."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.judging import at_work, judge, noting, some_worker, with_a_trial_that
from tests.faults.rounds import GRACE, TTL, every_round

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    import aiauto
    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them"),
]

N_TRIALS = 20


@every_round
def test_workers_are_killed(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    batch = study.optimize(noting(notes), N_TRIALS, 3, wait_option="WAIT_NO")
    kills = chance.randint(1, 4)
    for _ in range(kills):
        at_work(study, chance, N_TRIALS)
        worker = some_worker(impatient.data_dir, batch, chance)
        worker.send_signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
    assert study.wait(timeout=120)
    judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=kills)


@every_round
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_worker_is_suspended(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
    *,
    comes_back: bool,
) -> None:
    batch = study.optimize(noting(notes), N_TRIALS, 2, wait_option="WAIT_NO")
    at_work(study, chance, N_TRIALS)
    worker = some_worker(impatient.data_dir, batch, chance)
    worker.suspend()
    if comes_back:
        time.sleep(chance.uniform(0, TTL - 1.0))
        worker.resume()
    assert study.wait(timeout=120)
    may_fail = 0 if comes_back else 1
    judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=may_fail)


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def lets_nothing_else_run() -> None:
    """Holds the interpreter: no thread of the worker runs, heartbeats included."""
    ctypes.PyDLL(None).sleep(600)


def is_busy() -> None:
    """Computes for longer than a worker may be silent."""
    end = time.monotonic() + TTL + GRACE + 1
    while time.monotonic() < end:
        pass


@every_round
def test_a_busy_worker_is_not_dead(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    objective = with_a_trial_that(is_busy, chance.randrange(3), notes)
    batch = study.optimize(objective, 3, 1, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
    judge(study, batch, 3, notes=notes, data_dir=impatient.data_dir)


@every_round
@pytest.mark.parametrize("bad", [is_killed, sleeps, lets_nothing_else_run])
def test_a_trial_is_the_end_of_its_worker(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
    bad: Callable[[], None],
) -> None:
    objective = with_a_trial_that(bad, chance.randrange(N_TRIALS), notes)
    batch = study.optimize(
        objective, N_TRIALS, 2, wait_option="WAIT_ALL_TRIALS", wait_timeout=120, trial_timeout=5.0
    )
    cost = judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir, may_fail=1)
    assert cost == 1

"""The database goes away in the middle of a batch and comes back: nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest
from optuna.samplers import RandomSampler

import aiauto
from aiauto import config
from aiauto.testing import embedded_server
from tests.faults.judging import judge, noting
from tests.faults.rounds import GRACE, TTL, every_round
from tests.postgresql import postgresql_server

if TYPE_CHECKING:
    import random
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process are Linux's"),
]

N_TRIALS = 40


@contextlib.contextmanager
def full_disk(server: EmbeddedServer) -> Generator[None]:
    """The server's files can't grow meanwhile."""
    process = psutil.Process(server.pid)
    unlimited = resource.RLIM_INFINITY
    process.rlimit(psutil.RLIMIT_FSIZE, (1, unlimited))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (unlimited, unlimited))


def survive(
    server: EmbeddedServer,
    outage: AbstractContextManager[None],
    chance: random.Random,
    notes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is refused is to be told soon.
    monkeypatch.setattr(config, "CALL_PATIENCE", 0.0)
    controller = aiauto.AIAutoController(server.token, server.url)
    study = controller.create_study(f"study-{uuid.uuid4().hex[:12]}", sampler=RandomSampler())
    name = study.optimize(
        noting(notes),
        N_TRIALS,
        2,
        wait_option=aiauto.WaitOption.WAIT_ATLEAST_ONE_TRIAL,
        wait_timeout=60,
    )
    time.sleep(chance.uniform(0, 1))
    known = {trial.number: trial.values for trial in study.trials if trial.state.is_finished()}
    with outage:
        with pytest.raises(aiauto.UnavailableError, match="database is full, locked or out of"):
            controller.create_study("refused")  # after some more attempts
        # Often for longer than workers may be silent.
        time.sleep(chance.uniform(0, TTL + GRACE))
    assert study.wait(timeout=120)
    trials = study.get_study().trials
    assert {number: trials[number].values for number in known} == known
    judge(study, name, N_TRIALS, notes=notes, data_dir=server.data_dir)


@every_round
def test_a_full_disk(
    impatient: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    survive(impatient, full_disk(impatient), chance, notes, monkeypatch)


@every_round
@pytest.mark.parametrize("kill", [False, True])
def test_postgresql_is_started_again(
    impatience: None,
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    notes: Path,
    number: int,
    *,
    kill: bool,
) -> None:
    with postgresql_server() as postgresql:

        @contextlib.contextmanager
        def outage() -> Generator[None]:
            postgresql.stop(kill=kill)
            try:
                yield
            finally:
                postgresql.start()

        monkeypatch.setenv("AIAUTO_DATABASE_URL", postgresql.create_database())
        with embedded_server() as server:
            survive(server, outage(), chance, notes, monkeypatch)

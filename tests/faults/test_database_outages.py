"""The database goes away in the middle of a batch and comes back: nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
import uuid
from typing import TYPE_CHECKING

import optuna
import psutil
import pytest

import aiauto
from aiauto.testing import embedded_server
from tests.postgresql import postgresql_server

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process are Linux's"),
]

N_TRIALS = 40


def chatty(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    for step in range(3):
        trial.report(x * step, step)
        time.sleep(0.02)
    return x


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


def survive(server: EmbeddedServer, outage: AbstractContextManager[None]) -> None:
    controller = aiauto.AIAutoController(server.token, server.url)
    sampler = optuna.samplers.RandomSampler()
    study = controller.create_study(f"study-{uuid.uuid4().hex[:12]}", sampler=sampler)
    name = study.optimize(
        chatty, N_TRIALS, 2, wait_option=aiauto.WaitOption.WAIT_ATLEAST_ONE_TRIAL, wait_timeout=60
    )
    acknowledged = {
        trial.number: trial.values for trial in study.trials if trial.state.is_finished()
    }
    with outage, pytest.raises(aiauto.UnavailableError, match="database is full, locked or out of"):
        controller.create_study("refused")  # after some more attempts
    assert study.wait(timeout=120)
    batch = study.get_status(name)["trialbatches"][name]
    assert (batch["count_succeeded"], batch["count_total"]) == (N_TRIALS, N_TRIALS)
    trials = study.get_study().trials
    assert [trial.number for trial in trials] == list(range(N_TRIALS))
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert {number: trials[number].values for number in acknowledged} == acknowledged


def test_a_full_disk() -> None:
    with embedded_server() as server:
        survive(server, full_disk(server))


@pytest.mark.parametrize("kill", [False, True])
def test_postgresql_is_started_again(monkeypatch: pytest.MonkeyPatch, *, kill: bool) -> None:
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
            survive(server, outage())

"""The database goes away in the middle of a batch and comes back: nothing is lost."""

from __future__ import annotations

import contextlib
import itertools
import os
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
from aiauto.testing import EmbeddedServer, embedded_server
from tests.faults.judging import at_work, judge, noting
from tests.faults.rounds import GRACE, TTL, every_round
from tests.postgresql import postgresql_server
from tests.small_disk import small_disk

if TYPE_CHECKING:
    import random
    from collections.abc import Generator, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process are Linux's"),
]

N_TRIALS = 40
DISK_MEBIBYTES = 64


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


@contextlib.contextmanager
def filled(disk: Path) -> Generator[None]:
    """There is not a byte left on it meanwhile."""
    ballast = disk / "ballast"
    try:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        assert os.statvfs(disk).f_bfree == 0
        yield
    finally:
        ballast.unlink()


def create_studies(controller: aiauto.AIAutoController) -> None:
    """Without end: what the database has written before may leave it some room."""
    for number in itertools.count():
        controller.create_study(f"refused-{number}")


def survive(
    server: EmbeddedServer,
    outage: AbstractContextManager[None],
    chance: random.Random,
    notes: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seconds: float | None = None,
) -> None:
    """Let the database of a server be away while a batch runs.

    Args:
        server: The server.
        outage: Takes it away and gives it back.
        chance: Draws the moments.
        notes: Where workers note results.
        monkeypatch: Pytest's fixture.
        seconds: How long it is away; None for any time, often longer than workers may be silent.
    """
    # What is refused is to be told soon.
    monkeypatch.setattr(config, "CALL_PATIENCE", 0.0)
    controller = aiauto.AIAutoController(server.token, server.url)
    study = controller.create_study(f"study-{uuid.uuid4().hex[:12]}", sampler=RandomSampler())
    name = study.optimize(noting(notes), N_TRIALS, 2, wait_option="WAIT_NO")
    at_work(study, chance, N_TRIALS)
    known = {trial.number: trial.values for trial in study.trials if trial.state.is_finished()}
    assert len(known) < N_TRIALS
    with outage:
        with pytest.raises(aiauto.UnavailableError, match="database is full, locked or out of"):
            create_studies(controller)  # after some more attempts
        time.sleep(chance.uniform(0, TTL + GRACE) if seconds is None else seconds)
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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK_MEBIBYTES) as folder:
        yield folder


@every_round
def test_a_disk_without_a_byte_left(
    impatience: None,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    """Its workers' folders are there, too."""
    (disk / "data").mkdir(mode=0o700)
    server = EmbeddedServer(disk / "data")
    server.start()
    try:
        survive(server, filled(disk), chance, notes, monkeypatch)
    finally:
        server.stop()


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
    with_postgresql_away(chance, notes, monkeypatch, kill=kill)


@every_round
@pytest.mark.timeout(300)
def test_postgresql_is_away_for_half_a_minute(
    impatience: None,
    monkeypatch: pytest.MonkeyPatch,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    with_postgresql_away(chance, notes, monkeypatch, kill=False, seconds=30.0)


def with_postgresql_away(
    chance: random.Random,
    notes: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kill: bool,
    seconds: float | None = None,
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
            survive(server, outage(), chance, notes, monkeypatch, seconds=seconds)

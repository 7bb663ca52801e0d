"""The clock of the server and of its workers is set, there and back: no batch notices."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.samplers import RandomSampler

import aiauto
from aiauto.testing import embedded_server
from tests.faults.judging import judge, noting
from tests.faults.rounds import every_round

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from aiauto.testing import EmbeddedServer

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="libfaketime is preloaded as on Linux"),
]

N_TRIALS = 100
CACHED_SECONDS = 1.0
DAY = 86_400.0
# Within what a lease has, beyond it, and beyond every limit in time of the batch.
LEAPS = (1.0, 20.0, 3600.0, 10 * DAY)


class Clock:
    """What programs that run under libfaketime take for the time. What measures time goes on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0.0)

    def set(self, seconds: float) -> None:
        """Set it so far ahead of the real one, or behind."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+f}\n", encoding="ascii")
        new.rename(self._file)

    def environment(self) -> dict[str, str]:
        package = util.find_spec("libfaketime")
        assert package is not None
        assert package.origin is not None
        (library,) = Path(package.origin).parent.rglob("libfaketime.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # Read again so often. At every look it would take most of the processors' time.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="module")
def server(impatience: None, clock: Clock) -> Iterator[EmbeddedServer]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment().items():
            patch.setenv(name, value)
        clock.set(10 * DAY)
        look = [sys.executable, "-c", "import time; print(time.time())"]
        told = subprocess.run(look, capture_output=True, text=True, check=True).stdout
        if float(told) < time.time() + DAY:
            pytest.skip("the library of libfaketime does not work on this machine")
        clock.set(0.0)
        with embedded_server() as running:
            yield running


@every_round
def test_the_clock_is_set(
    server: EmbeddedServer,
    clock: Clock,
    study_name: str,
    chance: random.Random,
    notes: Path,
    number: int,
) -> None:
    controller = aiauto.AIAutoController(server.token, server.url)
    study = controller.create_study(study_name, sampler=RandomSampler())
    leaps = [
        (chance.uniform(0, 0.5), chance.choice([-1, 1]) * chance.choice(LEAPS))
        for _ in range(chance.randint(1, 3))
    ]

    def ended() -> int:
        return sum(len(file.read_text().splitlines()) for file in notes.iterdir())

    def leap() -> None:
        for pause, seconds in leaps:
            time.sleep(pause)
            clock.set(seconds)
            # What is seen of it: each worker has ended what it ran then, and another trial.
            time.sleep(CACHED_SECONDS)
            enough = min(ended() + 5, N_TRIALS)
            while ended() < enough and not over.is_set():
                time.sleep(0.02)

    batch = study.optimize(
        noting(notes),
        N_TRIALS,
        2,
        wait_option="WAIT_ATLEAST_ONE_TRIAL",
        wait_timeout=60,
        timeout=1800.0,
        trial_timeout=60.0,
    )
    over = threading.Event()
    leaping = threading.Thread(target=leap)
    leaping.start()
    try:
        assert study.wait(trialbatch_name=batch, timeout=120)
    finally:
        over.set()
        leaping.join()
        clock.set(0.0)
    judge(study, batch, N_TRIALS, notes=notes, data_dir=server.data_dir)
    # They did take it for the time.
    trials = study.get_study().trials
    moments = [one.datetime_start for one in trials] + [one.datetime_complete for one in trials]
    told = [moment for moment in moments if moment is not None]
    assert (max(told) - min(told)).total_seconds() > abs(leaps[0][1]) / 2, leaps

"""The server is killed or suspended while a batch runs: workers and clients wait for it."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.faults.judging import at_work, judge, noting
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

N_TRIALS = 30


def kill(server: EmbeddedServer, chance: random.Random) -> None:
    server.kill()
    time.sleep(chance.uniform(0, 1))
    server.start()


def suspend(server: EmbeddedServer, chance: random.Random) -> None:
    """For longer than workers may be silent."""
    process = psutil.Process(server.pid)
    process.suspend()
    time.sleep(TTL + GRACE + chance.uniform(0, 2))
    process.resume()


@every_round
@pytest.mark.parametrize("fault", [kill, suspend])
def test_the_server_is_away(
    impatient: EmbeddedServer,
    study: aiauto.StudyWrapper,
    chance: random.Random,
    notes: Path,
    number: int,
    fault: Callable[[EmbeddedServer, random.Random], None],
) -> None:
    def strike() -> None:
        for _ in range(chance.randint(1, 2)):
            at_work(study, chance, N_TRIALS)
            fault(impatient, chance)

    batch = study.optimize(noting(notes), N_TRIALS, 2, wait_option="WAIT_NO")
    with ThreadPoolExecutor(1) as threads:
        striking = threads.submit(strike)
        assert study.wait(trialbatch_name=batch, timeout=120)
        striking.result()
    judge(study, batch, N_TRIALS, notes=notes, data_dir=impatient.data_dir)

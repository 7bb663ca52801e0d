"""The server is killed or suspended while a batch runs: workers and clients wait for it."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync

import aiauto
from aiauto.connect import SyncTransport
from tests.faults.judging import at_work, judge, noting
from tests.faults.rounds import GRACE, TTL, every_round

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    import optuna

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


def leaves_a_thread(trial: optuna.Trial) -> float:
    """The worker's process outlives its last trial, and its batch, by some seconds."""
    threading.Thread(target=threading.Event().wait).start()
    return trial.suggest_float("x", 0, 1)


def test_workers_that_end_while_it_is_away_have_ended_although_their_batch_was_over(
    own_server: EmbeddedServer,
) -> None:
    study = aiauto.AIAutoController().create_study("over")
    name = study.optimize(leaves_a_thread, 1, 1, wait_option="WAIT_ALL_TRIALS")
    own_server.kill()
    own_server.start()
    end = time.monotonic() + 30
    with SyncTransport(own_server.url, token=own_server.token) as transport:
        service = AIAutoServiceClientSync(transport)
        while True:
            request = v1.ListTrialBatchPodsRequest(trialbatch_name=name)
            (pod,) = service.list_trial_batch_pods(request).pods
            if pod.phase in {"Succeeded", "Failed"}:
                return
            assert time.monotonic() < end, pod
            time.sleep(0.1)

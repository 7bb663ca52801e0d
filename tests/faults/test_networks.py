"""A bad network between workers and server: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import pytest
from optuna.samplers import RandomSampler

import aiauto
from tests.faults.judging import at_work, judge, noting
from tests.faults.network import ODDS, BadNetwork
from tests.faults.rounds import GRACE, TTL, every_round
from tests.proxy import CuttingProxy
from tests.server.conftest import serving

if TYPE_CHECKING:
    import random
    from pathlib import Path

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them"),
]

N_TRIALS = 25
PARALLELISM = 2


def begin(
    token: str,
    url: str,
    study_name: str,
    notes: Path,
    *,
    wait: aiauto.WaitOptionName,
    timeout: float,
) -> tuple[aiauto.StudyWrapper, str]:
    """Start a batch, and wait for as much of it as is asked for."""
    controller = aiauto.AIAutoController(token, url)
    study = controller.create_study(study_name, sampler=RandomSampler())
    name = study.optimize(
        noting(notes), N_TRIALS, PARALLELISM, wait_option=wait, wait_timeout=timeout
    )
    return study, name


@every_round
async def test_a_network_that_drops_delays_halves_and_repeats(
    study_name: str, chance: random.Random, notes: Path, tmp_path: Path, number: int
) -> None:
    async with serving(tmp_path / "data", heartbeat_interval=0.5) as app:
        with BadNetwork(app.url, chance) as network:
            app.executor._base_url = network.url
            token = await app.token_of("someone")

            def run() -> None:
                study, name = begin(
                    token, app.url, study_name, notes, wait="WAIT_ALL_TRIALS", timeout=150
                )
                judge(study, name, N_TRIALS, notes=notes, data_dir=tmp_path / "data")

            await asyncio.to_thread(run)
            print(dict(network.counts))
            assert network.counts.keys() >= ODDS.keys()


@every_round
@pytest.mark.parametrize("longer_than_a_lease", [False, True])
async def test_the_network_is_cut(
    study_name: str,
    chance: random.Random,
    notes: Path,
    tmp_path: Path,
    number: int,
    *,
    longer_than_a_lease: bool,
) -> None:
    """Workers reach nobody for a while, and the server hears of none of them."""
    how = {"heartbeat_interval": 0.5, "lease_ttl": TTL, "lease_grace": GRACE}
    seconds = chance.uniform(0, TTL - 1.0)
    if longer_than_a_lease:
        seconds += TTL + GRACE + 1.0
    async with serving(tmp_path / "data", **how) as app:
        with CuttingProxy(app.url) as network:
            app.executor._base_url = network.url
            token = await app.token_of("someone")

            def run() -> None:
                study, name = begin(
                    token, app.url, study_name, notes, wait="WAIT_ATLEAST_ONE_TRIAL", timeout=60
                )
                at_work(study, chance, N_TRIALS)
                network.cut(refuse=True)
                time.sleep(seconds)
                network.cut()
                assert study.wait(timeout=120)
                taken = PARALLELISM if longer_than_a_lease else 0
                judge(
                    study,
                    name,
                    N_TRIALS,
                    notes=notes,
                    data_dir=tmp_path / "data",
                    may_fail=taken,
                    may_be_late=taken,
                )

            await asyncio.to_thread(run)

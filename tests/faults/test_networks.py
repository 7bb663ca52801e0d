"""A bad network between workers and server: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from optuna.samplers import RandomSampler

import aiauto
from tests.faults.judging import judge, noting
from tests.faults.network import BadNetwork
from tests.faults.rounds import every_round
from tests.server.conftest import serving

if TYPE_CHECKING:
    import random
    from pathlib import Path

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them"),
]

N_TRIALS = 25


@every_round
async def test_a_network_that_drops_delays_halves_and_repeats(
    study_name: str, chance: random.Random, notes: Path, tmp_path: Path, number: int
) -> None:
    async with serving(tmp_path / "data", heartbeat_interval=0.5) as app:
        with BadNetwork(app.url, chance) as network:
            app.parts.executor._base_url = network.url
            token = await app.token_of("someone")

            def run() -> None:
                controller = aiauto.AIAutoController(token, app.url)
                study = controller.create_study(study_name, sampler=RandomSampler())
                name = study.optimize(
                    noting(notes), N_TRIALS, 2, wait_option="WAIT_ALL_TRIALS", wait_timeout=150
                )
                judge(study, name, N_TRIALS, notes=notes, data_dir=tmp_path / "data")

            await asyncio.to_thread(run)
            print(dict(network.counts))
            assert network.counts["drop"] + network.counts["halve"] > 0

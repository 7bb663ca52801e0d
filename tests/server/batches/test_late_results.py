"""Workers that fall silent and come back: real processes, stopped and continued."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import select

import aiauto
from aiauto.runner.journal import FRESH_SECONDS
from aiauto.server.database.models import Lease
from tests.server.conftest import RunningApp, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import optuna
    from sqlalchemy.orm import Session

TTL = 1.0


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[RunningApp]:
    """A server that suspects its workers soon, and waits long for them."""
    how = {"lease_ttl": TTL, "lease_grace": 600.0, "heartbeat_interval": 0.2}
    async with serving(tmp_path / "data", **how) as running:
        yield running


class Workers:
    """What an objective does with trials that wait, and what is done with its process.

    Every trial leaves its process's id in a file, and those named wait for a file to end.
    """

    def __init__(self, folder: Path, *waiting: int, tells_at_once: bool = True) -> None:
        self.folder = folder
        self.waiting = waiting
        self.tells_at_once = tells_at_once

    def objective(self) -> Callable[[optuna.Trial], float]:
        folder, waiting, tells_at_once = self.folder, self.waiting, self.tells_at_once

        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0, 1)
            if tells_at_once:
                time.sleep(2 * FRESH_SECONDS)  # a read just after another one asks nobody
                assert trial.study.trials  # what was not sent yet travels with whatever is read
            marker = folder / f"begun-{trial.number}.part"
            marker.write_text(str(os.getpid()))
            marker.rename(marker.with_suffix(""))
            while trial.number in waiting and not (folder / f"go-{trial.number}").exists():
                time.sleep(0.02)
            return x

        return objective

    async def begun(self, number: int) -> int:
        """Wait for a trial; its process."""
        marker = self.folder / f"begun-{number}"
        await until(lambda: asyncio.to_thread(marker.exists))
        return int(marker.read_text())

    def stop(self, process_id: int) -> None:
        os.kill(process_id, signal.SIGSTOP)

    def go_on(self, process_id: int, number: int) -> None:
        (self.folder / f"go-{number}").touch()
        os.kill(process_id, signal.SIGCONT)


async def study_of(app: RunningApp) -> aiauto.StudyWrapper:
    token = await app.token_of("someone")

    def create() -> aiauto.StudyWrapper:
        return aiauto.AIAutoController(token, app.url).create_study("study")

    return await asyncio.to_thread(create)


async def until_suspected(app: RunningApp) -> None:
    def one(session: Session) -> int:
        return session.scalars(select(Lease.id).where(Lease.state == "LEASED")).one()

    lease_id = await app.parts.database.read(one)

    async def is_suspected() -> bool:
        return app.parts.batches.work._heartbeats.is_suspected(lease_id)

    await until(is_suspected)


async def ended(study: aiauto.StudyWrapper) -> Any:
    assert await study.wait_async(timeout=60)
    return await study.get_status_async()


async def test_a_late_result_counts_if_nobody_reran_the_trial(
    app: RunningApp, tmp_path: Path
) -> None:
    workers = Workers(tmp_path, 0)
    study = await study_of(app)
    await study.optimize_async(workers.objective(), 2, 1, wait_option="WAIT_NO")
    process_id = await workers.begun(0)
    workers.stop(process_id)
    await until_suspected(app)
    workers.go_on(process_id, 0)
    status = await ended(study)
    assert (status["count_succeeded"], status["count_failed"]) == (2, 0)
    trials = await asyncio.to_thread(lambda: study.get_study().trials)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert await workers.begun(1) == process_id


@pytest.mark.parametrize("tells_at_once", [True, False])
async def test_a_late_result_is_set_aside_where_somebody_reran_the_trial(
    app: RunningApp,
    tmp_path: Path,
    *,
    tells_at_once: bool,
) -> None:
    workers = Workers(tmp_path, 0, 2, tells_at_once=tells_at_once)
    study = await study_of(app)
    await study.optimize_async(workers.objective(), 2, 2, wait_option="WAIT_NO", max_retries=2)
    first = await workers.begun(0)
    workers.stop(first)
    # The other worker is soon free, and runs the same parameters again.
    second = await workers.begun(2)
    assert second == await workers.begun(1)
    workers.go_on(first, 0)

    async def is_set_aside() -> bool:
        return "Trial 0 ended all the same" in (await study.get_status_async())["last_error"]

    await until(is_set_aside)
    # The first one lives on, and does for the second what that did for it.
    workers.stop(second)
    assert await workers.begun(3) == first
    status = await ended(study)
    assert (status["count_succeeded"], status["count_failed"]) == (2, 0)
    trials = await asyncio.to_thread(lambda: study.get_study().trials)
    states = [TrialState.FAIL, TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert [trial.state for trial in trials] == states
    if tells_at_once:
        assert trials[3].params == trials[2].params == trials[0].params

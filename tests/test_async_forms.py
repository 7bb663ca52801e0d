"""The async forms of a study's calls: the same arguments, and the caller's loop goes on."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING

import pytest

import aiauto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import optuna

    from aiauto.testing import EmbeddedServer

ALL = aiauto.WaitOption.WAIT_ALL_TRIALS
FORMS = ("optimize", "wait", "get_status", "logs")


def slow(trial: optuna.Trial) -> float:
    time.sleep(0.2)
    print("trial", trial.number)
    return trial.suggest_float("x", 0, 1)


def failing(_trial: optuna.Trial) -> float:
    message = "not today"
    raise ValueError(message)


class SlowToPack:
    """Takes a while to pickle, and keeps whoever does it busy."""

    def __call__(self, trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    def __getstate__(self) -> dict[str, object]:
        time.sleep(1)
        return {}


@pytest.fixture
def study(controller: aiauto.AIAutoController, study_name: str) -> aiauto.StudyWrapper:
    return controller.create_study(study_name)


class Ticks:
    """Counts how often the loop comes round."""

    def __init__(self) -> None:
        self.count = 0

    async def tick(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0.01)


@pytest.fixture
async def ticks() -> AsyncIterator[Ticks]:
    ticks = Ticks()
    task = asyncio.create_task(ticks.tick())
    yield ticks
    task.cancel()


@pytest.mark.parametrize("name", FORMS)
def test_both_forms_take_the_same(name: str) -> None:
    blocking = inspect.signature(getattr(aiauto.StudyWrapper, name))
    other = inspect.signature(getattr(aiauto.StudyWrapper, f"{name}_async"))
    assert list(other.parameters.values()) == list(blocking.parameters.values())
    if name != "logs":  # an iterator there, an async iterator here
        assert other.return_annotation == blocking.return_annotation


async def test_a_batch(study: aiauto.StudyWrapper, ticks: Ticks) -> None:
    name = await study.optimize_async(SlowToPack(), 3, parallelism=1, wait_option="WAIT_NO")
    # The loop came round while the objective was packed.
    assert ticks.count > 20
    assert await study.wait_async(timeout=60)
    assert await study.wait_async(2)
    status = await study.get_status_async(name, include_trials=True)
    assert status["count_succeeded"] == 3
    assert len(status["trialbatches"][name]["completed_trials"]) == 3
    assert (await study.get_status_async())["count_total"] == 3


async def test_waiting_within_optimize(study: aiauto.StudyWrapper) -> None:
    name = await study.optimize_async(slow, 2, 1, wait_option=ALL)
    lines = [str(line) async for line in study.logs_async(follow=True)]
    assert lines == ["trial 0", "trial 1"]
    with pytest.raises(aiauto.TrialBatchFailedError, match="ValueError: not today"):
        await study.optimize_async(failing, 1, 1, wait_option=ALL)
    assert [str(line) async for line in study.logs_async(1, name)] == ["trial 1"]


async def test_time_limits(study: aiauto.StudyWrapper) -> None:
    with pytest.raises(aiauto.WaitTimeoutError, match=r"after 0\.5 s"):
        await study.optimize_async(slow, 200, 1, wait_option=ALL, wait_timeout=0.5)
    assert await study.wait_async(timeout=0.3) is False
    assert await study.wait_async(199, timeout=0.3) is False
    study.cancel()


async def test_bad_input_is_refused_before_anything_runs(study: aiauto.StudyWrapper) -> None:
    with pytest.raises(aiauto.ArgumentValueError, match="n_trials"):
        await study.optimize_async(slow, 0)
    with pytest.raises(aiauto.ArgumentValueError, match="patience"):
        await study.optimize_async(slow, patience=0)
    with pytest.raises(aiauto.ArgumentTypeError, match="trial"):
        _ = [line async for line in study.logs_async("1")]  # type: ignore[arg-type]
    with pytest.raises(aiauto.NoTrialBatchError):
        await study.wait_async()
    assert study.get_status()["trialbatches"] == {}


async def test_cancelling_leaves_the_batch_running(study: aiauto.StudyWrapper) -> None:
    starting = asyncio.create_task(study.optimize_async(slow, 12, 1, wait_option=ALL))
    while (await study.get_status_async())["count_completed"] == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    following = asyncio.create_task(study.wait_async())
    await asyncio.sleep(0.2)
    for task in (starting, following):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    status = await study.get_status_async()
    assert status["count_completed"] < status["count_total"] == 12
    assert await study.wait_async(timeout=60)
    assert (await study.get_status_async())["count_succeeded"] == 12


def test_each_call_stands_on_its_own(study: aiauto.StudyWrapper) -> None:
    # In as many loops, one after another.
    asyncio.run(study.optimize_async(slow, 1, 1, wait_option="WAIT_NO"))
    assert asyncio.run(study.wait_async(timeout=60))

    async def first_line() -> str:
        async for line in study.logs_async(follow=True):
            return str(line)
        return ""

    assert asyncio.run(first_line()) == "trial 0"


async def test_several_studies_at_the_same_time(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    studies = [controller.create_study(f"{study_name}-{number}") for number in range(2)]
    await asyncio.gather(*(one.optimize_async(slow, 3, 1, wait_option=ALL) for one in studies))
    assert [one.get_status()["count_succeeded"] for one in studies] == [3, 3]


async def test_a_server_that_dies_meanwhile(own_server: EmbeddedServer) -> None:
    controller = await asyncio.to_thread(aiauto.AIAutoController)
    study = await asyncio.to_thread(controller.create_study, "dies")
    await study.optimize_async(slow, 10, 1)
    waiting = asyncio.create_task(study.wait_async(timeout=90))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(own_server.kill)
    assert await waiting
    status = await study.get_status_async()
    assert status["count_completed"] == status["count_total"] == 10

"""Workers as processes of this machine, through the whole server."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClient

from aiauto import connect
from aiauto.objective import pack
from tests.server.conftest import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import optuna

    from aiauto.server.batches import WorkerTicket
    from tests.server.conftest import RunningApp


def quick(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def slow(trial: optuna.Trial) -> float:
    import time

    time.sleep(60)
    return trial.suggest_float("x", 0, 1)


def suicidal(trial: optuna.Trial) -> float:
    if trial.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
async def service(running_app: RunningApp) -> AsyncIterator[AIAutoServiceClient]:
    token = await running_app.token_of("someone")
    async with connect.Transport(running_app.url, token=token) as transport:
        service = AIAutoServiceClient(transport)
        await service.ensure_workspace(v1.EnsureWorkspaceRequest())
        spec = v1.StudySpec(study_name="study", direction="minimize")
        await service.create_study(v1.CreateStudyRequest(spec=spec))
        yield service


async def optimize(
    service: AIAutoServiceClient,
    objective: Callable[[optuna.Trial], float] | bytes,
    *,
    n_trials: int,
    parallelism: int,
) -> str:
    payload = pack(objective if callable(objective) else quick)
    if not callable(objective):
        payload.pickled = objective
    batch = v1.TrialBatchSpec(study_name="study", n_trials=n_trials, parallelism=parallelism)
    request = v1.OptimizeRequest(objective=payload, batch=batch)
    return (await service.optimize(request)).trialbatch_name


async def ended(service: AIAutoServiceClient, name: str) -> v1.TrialBatchStatus:
    for _ in range(600):
        request = v1.GetStatusRequest(study_name="study", trialbatch_name=name)
        status = (await service.get_status(request)).trialbatches[name]
        if status.phase in {"Succeeded", "Failed"}:
            return status
        await asyncio.sleep(0.1)
    pytest.fail("the batch does not end")


async def processes(service: AIAutoServiceClient, name: str, running_app: RunningApp) -> list[int]:
    workers = await running_app.parts.batches.live_workers(name)
    return [worker.process_id for worker in workers if worker.process_id]


async def test_as_many_workers_as_asked_for(
    service: AIAutoServiceClient, running_app: RunningApp
) -> None:
    name = await optimize(service, quick, n_trials=6, parallelism=2)
    status = await ended(service, name)
    assert (status.count_succeeded, status.count_total) == (6, 6)
    pods = (
        await service.list_trial_batch_pods(v1.ListTrialBatchPodsRequest(trialbatch_name=name))
    ).pods
    assert len(pods) == 2


async def test_a_dead_worker_is_replaced(service: AIAutoServiceClient) -> None:
    name = await optimize(service, suicidal, n_trials=4, parallelism=1)
    status = await ended(service, name)
    assert (status.count_succeeded, status.count_failed) == (3, 1)
    assert "SIGKILL" in status.last_error
    pods = (
        await service.list_trial_batch_pods(v1.ListTrialBatchPodsRequest(trialbatch_name=name))
    ).pods
    assert next(pod.reason for pod in pods) == "Killed"
    assert [pod.restart_count for pod in pods] == [0, 1]
    assert [pod.container_statuses[0].restart_count for pod in pods] == [0, 1]


async def test_what_can_not_be_loaded_fails_the_batch(service: AIAutoServiceClient) -> None:
    name = await optimize(service, b"no pickle", n_trials=5, parallelism=2)
    status = await ended(service, name)
    assert (status.phase, status.count_failed) == ("Failed", 5)
    assert "can't be loaded" in status.last_error


class EndsWorkers:
    """Part of an objective: whatever loads it is ended, until there is a file."""

    def __init__(self, gate: Path, how: str) -> None:
        self.gate = gate
        self.how = how

    def __reduce__(self) -> tuple[object, ...]:
        def load(gate: Path, how: str) -> EndsWorkers:
            if not gate.exists():
                exec(how)  # noqa: S102
            return EndsWorkers(gate, how)

        return load, (self.gate, self.how)


def ended_before(gate: Path, how: str) -> Callable[[optuna.Trial], float]:
    ends = EndsWorkers(gate, how)

    def objective(trial: optuna.Trial) -> float:
        assert ends.gate.exists()
        return trial.suggest_float("x", 0, 1)

    return objective


async def workers_of(service: AIAutoServiceClient, name: str) -> list[v1.PodInfo]:
    request = v1.ListTrialBatchPodsRequest(trialbatch_name=name)
    return (await service.list_trial_batch_pods(request)).pods


async def test_workers_that_end_by_themselves_before_their_first_trial_fail_the_batch(
    service: AIAutoServiceClient, tmp_path: Path
) -> None:
    objective = ended_before(tmp_path / "gate", "import os; os._exit(7)")
    name = await optimize(service, objective, n_trials=5, parallelism=1)
    status = await ended(service, name)
    assert (status.phase, status.count_failed) == ("Failed", 5)
    assert "3 workers in a row ended" in status.last_error
    assert "exit code 7" in status.last_error
    assert len(await workers_of(service, name)) == 3


async def test_workers_that_are_killed_before_their_first_trial_are_replaced_for_long(
    service: AIAutoServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiauto.server.executors.false_starts.FIRST_PAUSE_SECONDS", 0.01)
    gate = tmp_path / "gate"
    how = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    name = await optimize(service, ended_before(gate, how), n_trials=4, parallelism=2)

    async def says_so() -> bool:
        status = (await service.get_status(v1.GetStatusRequest(study_name="study"))).trialbatches
        told = [one.message for one in status[name].conditions if one.reason == "WorkersMissing"]
        assert status[name].phase not in {"Failed", "Succeeded"}
        return len(await workers_of(service, name)) > 6 and "SIGKILL" in "".join(told)

    await until(says_so)
    gate.touch()
    status = await ended(service, name)
    assert (status.count_succeeded, status.count_total, status.last_error) == (4, 4, "")


async def test_a_deleted_batch_leaves_no_process(
    service: AIAutoServiceClient, running_app: RunningApp
) -> None:
    name = await optimize(service, slow, n_trials=2, parallelism=2)
    for _ in range(600):
        status = await service.get_status(v1.GetStatusRequest(study_name="study"))
        if status.trialbatches[name].count_active == 2:
            break
        await asyncio.sleep(0.1)
    workers = await processes(service, name, running_app)
    assert len(workers) == 2
    await service.delete_trial_batch(v1.DeleteTrialBatchRequest(name=name))
    assert not any(psutil.pid_exists(process) for process in workers)
    status = await service.get_status(v1.GetStatusRequest(study_name="study"))
    assert status.trialbatches == {}


async def test_a_batch_that_is_canceled_while_its_first_worker_starts_leaves_none(
    service: AIAutoServiceClient, running_app: RunningApp
) -> None:
    """The first one starts once a process has imported what forks need: that takes a while."""
    batches = running_app.parts.batches
    name = await optimize(service, slow, n_trials=2, parallelism=2)
    while not await batches.live_workers(name):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    await running_app.parts.executor.cancel(name)
    assert await batches.live_workers(name) == []


async def test_a_batch_that_is_canceled_while_its_first_worker_is_entered_leaves_none(
    service: AIAutoServiceClient, running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a database has written, it may say late."""
    batches = running_app.parts.batches
    create = batches.create_worker

    async def say_late(batch_name: str, *, gpu_share: str | None = None) -> WorkerTicket:
        ticket = await create(batch_name, gpu_share=gpu_share)
        await asyncio.sleep(0.5)
        return ticket

    monkeypatch.setattr(batches, "create_worker", say_late)
    name = await optimize(service, slow, n_trials=2, parallelism=2)
    while not await batches.live_workers(name):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    await running_app.parts.executor.cancel(name)
    assert await batches.live_workers(name) == []

"""GPUs of this machine, shared out to real workers. Only nvidia-smi is a stand-in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClient

import aiauto
from aiauto import connect
from aiauto.objective import pack
from aiauto.server.executors import gpus as machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import optuna

    from aiauto.testing import EmbeddedServer
    from tests.server.conftest import RunningApp

    Install = Callable[..., None]

pytestmark = pytest.mark.once

RTX_3090 = "NVIDIA GeForce RTX 3090"
RTX_4090 = "NVIDIA GeForce RTX 4090"
H100 = "NVIDIA H100 80GB HBM3"


def seen(trial: optuna.Trial) -> float:
    """What a worker sees."""
    import os

    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        trial.set_user_attr(name, os.environ[name])
    return trial.suggest_float("x", 0, 1)


def gated(gate: Path) -> Callable[[optuna.Trial], float]:
    """As `seen`, once a file is there."""
    path = str(gate)

    def objective(trial: optuna.Trial) -> float:
        import os
        import time

        while not os.path.exists(path):  # noqa: PTH110
            time.sleep(0.02)
        return seen(trial)

    return objective


class Study:
    """A study of one user, spoken to through the whole server."""

    def __init__(self, service: AIAutoServiceClient) -> None:
        self.service = service

    async def optimize(
        self, objective: Callable[[optuna.Trial], float], n_trials: int, **spec: Any
    ) -> str:
        given: dict[str, Any] = {"parallelism": 2, "use_gpu": True, **spec}
        batch = v1.TrialBatchSpec(study_name="study", n_trials=n_trials, **given)
        request = v1.OptimizeRequest(objective=pack(objective), batch=batch)
        return (await self.service.optimize(request)).trialbatch_name

    async def status(self, name: str) -> v1.TrialBatchStatus:
        request = v1.GetStatusRequest(study_name="study", trialbatch_name=name, include_trials=True)
        return (await self.service.get_status(request)).trialbatches[name]

    async def until(
        self, name: str, fits: Callable[[v1.TrialBatchStatus], bool]
    ) -> v1.TrialBatchStatus:
        for _ in range(600):
            status = await self.status(name)
            if fits(status):
                return status
            await asyncio.sleep(0.1)
        pytest.fail("the batch does not get there")

    async def at_once(self, number: int, gate: Path, **spec: Any) -> v1.TrialBatchStatus:
        """Run so many trials at the same time, each in a worker of its own."""
        name = await self.optimize(gated(gate), number, **spec)
        await self.until(name, lambda one: one.count_active == number)
        await asyncio.to_thread(gate.touch)
        return await self.ended(name)

    async def ended(self, name: str) -> v1.TrialBatchStatus:
        status = await self.until(name, lambda one: one.phase in {"Succeeded", "Failed"})
        assert status.last_error == ""
        return status


@pytest.fixture
async def study(gpus: Install, running_app: RunningApp) -> AsyncIterator[Study]:
    token = await running_app.token_of("someone")
    async with connect.Transport(running_app.url, token=token) as transport:
        service = AIAutoServiceClient(transport)
        await service.ensure_workspace(v1.EnsureWorkspaceRequest())
        spec = v1.StudySpec(study_name="study", direction="minimize")
        await service.create_study(v1.CreateStudyRequest(spec=spec))
        yield Study(service)


def attributes(status: v1.TrialBatchStatus, name: str) -> list[Any]:
    trials = status.completed_trials.values()
    return [json.loads(trial.user_attrs[name]) for trial in trials]


def by_worker(status: v1.TrialBatchStatus, name: str) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for trial in status.completed_trials.values():
        values.setdefault(trial.pod_name, set()).add(json.loads(trial.user_attrs[name]))
    return values


def waits(status: v1.TrialBatchStatus) -> str:
    (one,) = (one for one in status.conditions if one.type.endswith("PODS_RUNNING"))
    return one.message if one.reason == "WorkersMissing" else ""


async def test_every_worker_has_a_gpu_of_its_own(
    gpus: Install, study: Study, tmp_path: Path
) -> None:
    gpus(H100, RTX_4090)
    status = await study.at_once(2, tmp_path / "gate")
    devices = by_worker(status, "CUDA_VISIBLE_DEVICES")
    assert sorted(map(sorted, devices.values())) == [["0"], ["1"]]
    assert set(attributes(status, "CUDA_DEVICE_ORDER")) == {"PCI_BUS_ID"}
    names = by_worker(status, "gpu_name")
    assert {pod: {"0": H100, "1": RTX_4090}[one] for pod, (one,) in devices.items()} == {
        pod: one for pod, (one,) in names.items()
    }


async def test_a_worker_may_have_several(gpus: Install, study: Study, tmp_path: Path) -> None:
    gpus(H100, H100, H100, H100, H100)
    needs = {"nvidia.com/gpu": "2", "cpu": "1"}
    status = await study.at_once(2, tmp_path / "gate", resources_requests=needs)
    assert sorted(attributes(status, "CUDA_VISIBLE_DEVICES")) == ["0,1", "2,3"]
    assert set(attributes(status, "gpu_name")) == {H100}


async def test_without_use_gpu_there_is_none_to_be_seen(gpus: Install, study: Study) -> None:
    gpus(H100)
    status = await study.ended(await study.optimize(seen, 2, use_gpu=False))
    assert attributes(status, "CUDA_VISIBLE_DEVICES") == ["", ""]
    assert all("gpu_name" not in one.user_attrs for one in status.completed_trials.values())


async def test_the_gpu_of_a_dead_worker_goes_to_the_next(gpus: Install, study: Study) -> None:
    def suicidal(trial: optuna.Trial) -> float:
        trial.set_user_attr("CUDA_VISIBLE_DEVICES", os.environ["CUDA_VISIBLE_DEVICES"])
        if trial.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trial.suggest_float("x", 0, 1)

    gpus(H100)
    name = await study.optimize(suicidal, 3)
    status = await study.until(name, lambda one: one.count_completed == 3)
    assert (status.count_succeeded, status.count_failed) == (2, 1)
    succeeded = [one for one in status.completed_trials.values() if one.state == "COMPLETE"]
    assert {one.user_attrs["CUDA_VISIBLE_DEVICES"] for one in succeeded} == {'"0"'}


async def test_batches_share_what_there_is(gpus: Install, study: Study, tmp_path: Path) -> None:
    gpus(H100, RTX_4090)
    gates = [tmp_path / "first", tmp_path / "second"]
    first = await study.optimize(gated(gates[0]), 1, parallelism=1)
    await study.until(first, lambda one: one.count_active == 1)
    second = await study.optimize(gated(gates[1]), 2, parallelism=2)
    status = await study.until(second, lambda one: one.count_active == 1)
    assert waits(status) == (
        "Waits for GPUs: each of its workers needs 1 GPU, and 2 of the 2 of this server are "
        "taken. More workers start as they get free."
    )
    third = await study.optimize(seen, 1, resources_requests={"nvidia.com/gpu": "2"})
    await study.until(third, lambda one: bool(waits(one)))
    gates[0].touch()
    assert attributes(await study.ended(first), "CUDA_VISIBLE_DEVICES") == ["0"]
    status = await study.until(second, lambda one: one.count_active == 2)
    assert waits(status) == ""
    gates[1].touch()
    status = await study.ended(second)
    assert sorted(attributes(status, "CUDA_VISIBLE_DEVICES")) == ["0", "1"]
    assert attributes(await study.ended(third), "CUDA_VISIBLE_DEVICES") == ["0,1"]


async def test_trials_go_to_the_model_that_they_ask_for(gpus: Install, study: Study) -> None:
    gpus(RTX_3090, RTX_4090, H100)
    models = {"gpu-3090": 2, "nvidia-geforce-rtx-4090": 3}
    name = await study.optimize(seen, 7, parallelism=3, gpu_model=models)
    names = Counter(attributes(await study.ended(name), "gpu_name"))
    # What may run anywhere leaves alone what others must have, for as long as they do.
    assert (names[RTX_3090] >= 2, names[RTX_4090] >= 3, names[H100] >= 1) == (True, True, True)
    exact = {"gpu-3090": 1, "h100": 3}
    name = await study.optimize(seen, 4, parallelism=1, gpu_model=exact)
    names = Counter(attributes(await study.ended(name), "gpu_name"))
    assert names == {RTX_3090: 1, H100: 3}


async def test_a_trial_is_run_again_by_its_own_share(gpus: Install, study: Study) -> None:
    def fails_once(trial: optuna.Trial) -> float:
        if trial.number == 0:
            message = "the first time"
            raise RuntimeError(message)
        return trial.suggest_float("x", 0, 1)

    gpus(RTX_3090)
    # Both shares live on the same GPU, one after the other.
    name = await study.optimize(fails_once, 3, gpu_model={"rtx-3090": 2}, max_retries=2)
    status = await study.until(name, lambda one: one.phase in {"Succeeded", "Failed"})
    assert (status.count_succeeded, status.count_failed) == (3, 0)


@pytest.mark.parametrize(
    ("installed", "spec", "words"),
    [
        ([], {}, r"no GPUs \(nvidia-smi lists none\), and every worker needs 1 GPU \(use_gpu\)"),
        (["broken"], {}, "this server has no GPUs"),
        (
            [H100],
            {"resources_requests": {"nvidia.com/gpu": "2"}},
            rf"has 1 GPU, .* resources_requests\['nvidia.com/gpu'\]\)\. Its GPUs are 0: {H100}\.",
        ),
        (
            [H100, RTX_3090],
            {"gpu_model": {"gpu-4090": 1}},
            "gpu_model gpu-4090: this server has no GPUs of that model",
        ),
        (
            [H100, RTX_3090],
            {"resources_limits": {"nvidia.com/gpu": "2"}, "gpu_model": {"gpu-3090": 1}},
            "gpu_model gpu-3090: this server has 1 GPU of that model",
        ),
    ],
)
async def test_too_few_are_refused_before_anything_runs(
    gpus: Install, study: Study, installed: list[str], spec: dict[str, Any], words: str
) -> None:
    gpus(*installed)
    with pytest.raises(aiauto.FailedPreconditionError, match=words):
        await study.optimize(seen, 2, **spec)
    status = await study.service.get_status(v1.GetStatusRequest(study_name="study"))
    assert status.trialbatches == {}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"resources_requests": {"nvidia.com/gpu": "0"}}, "'0': it must be a whole number"),
        ({"resources_requests": {"nvidia.com/gpu": "1.5"}}, "must be a whole number of GPUs"),
        ({"resources_requests": {"nvidia.com/gpu": "65"}}, "from '1' to '64'"),
        ({"gpu_model": {"h100": 3}}, "gives out 3 trials, and n_trials is 2"),
        ({"gpu_model": {"h100": 0}}, "at least 1 trial"),
        ({"gpu_model": {"h" * 64: 1}}, "in 1 to 63 characters"),
        ({"gpu_model": {f"h{number}": 1 for number in range(65)}}, "more than 64 models"),
        ({"use_gpu": False, "gpu_model": {"h100": 1}}, "gpu_model counts for GPU workers only"),
        (
            {"use_gpu": False, "resources_requests": {"nvidia.com/gpu": "1"}},
            "counts for GPU workers only: pass use_gpu=True",
        ),
    ],
)
async def test_what_can_not_be_asked_for(
    gpus: Install, study: Study, spec: dict[str, Any], words: str
) -> None:
    gpus(H100)
    with pytest.raises(aiauto.InvalidArgumentError, match=words):
        await study.optimize(seen, 2, **spec)


async def test_the_kinds_of_gpu_are_listed(
    gpus: Install, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(H100, RTX_4090, H100)
    answer = await study.service.list_gpu_flavors(v1.ListGpuFlavorsRequest())
    names = [flavor.name for flavor in answer.gpu_flavors]
    assert names == ["nvidia-geforce-rtx-4090", "nvidia-h100-80gb-hbm3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    answer = await study.service.list_gpu_flavors(v1.ListGpuFlavorsRequest())
    assert [flavor.name for flavor in answer.gpu_flavors] == ["nvidia-geforce-rtx-4090"]


@pytest.mark.parametrize(
    ("visible", "devices"),
    [
        (None, "0 1 2 3"),
        ("", ""),
        ("-1", ""),
        ("2", "2"),
        ("3,1", "3 1"),
        (" 3 , 1 ", "3 1"),
        ("1,7,2", "1"),
        ("1,1,2", "1"),
        ("GPU-2fe50002,0", "2 0"),
        ("GPU-3fe", "3"),
        ("GPU-", ""),
        ("MIG-1c5a,1", "MIG-1c5a 1"),
    ],
)
async def test_the_servers_own_variable_counts(
    gpus: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None, devices: str
) -> None:
    gpus(H100, H100, RTX_4090, RTX_3090)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert " ".join(gpu.device for gpu in await machine.Gpus().look()) == devices


async def test_a_driver_that_fails_for_a_moment_changes_nothing(gpus: Install) -> None:
    known = machine.Gpus()
    gpus(H100)
    assert len(await known.look()) == 1
    gpus("broken")
    assert len(await known.look()) == 1


def test_models_are_named_by_words() -> None:
    gpu = machine.Gpu("0", RTX_3090)
    assert gpu.model == "nvidia-geforce-rtx-3090"
    fitting = ("gpu-3090", "gpu_3090", "3090", "rtx-3090", "NVIDIA GeForce RTX 3090", gpu.model)
    assert all(map(gpu.is_of, fitting))
    assert not any(map(gpu.is_of, ("gpu-4090", "gpu", "", "309", "rtx-3090-ti")))


def test_workers_that_are_taken_over_keep_theirs(
    gpus: Install, tmp_path: Path, own_server: EmbeddedServer
) -> None:
    gpus(H100, RTX_4090)
    gate = tmp_path / "gate"
    study = aiauto.AIAutoController().create_study("study")
    first = study.optimize(gated(gate), 2, 2, use_gpu=True, wait_option="WAIT_NO")
    # Not only leased: a trial gets its number when it begins, and the third must come last.
    while len(study.get_study().trials) < 2:
        time.sleep(0.1)
    own_server.kill()
    own_server.start()
    second = study.optimize(seen, 1, 1, use_gpu=True, wait_option="WAIT_NO")
    while "Waits for GPUs" not in str(study.get_status(second)):
        time.sleep(0.1)
    gate.touch()
    assert study.wait(timeout=100)
    trials = study.get_study().trials
    devices = [trial.user_attrs["CUDA_VISIBLE_DEVICES"] for trial in trials]
    assert [sorted(devices[:2]), devices[2] in {"0", "1"}] == [["0", "1"], True]
    assert len({trial.user_attrs["pod_name"] for trial in trials}) == 3
    assert study.get_status(first)["count_succeeded"] == 2

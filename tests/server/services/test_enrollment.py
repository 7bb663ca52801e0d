"""How Pods become workers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import (
    AIAutoServiceClient,
    EnrollmentServiceClient,
    RunnerServiceClient,
)

from aiauto import connect, errors
from aiauto.objective import pack
from aiauto.server.batches.enrollment import SPARE_WORKERS, Seen
from aiauto.server.web import worker_wheel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import optuna

    from tests.server.conftest import RunningApp

PARALLELISM = 2


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


class Idle:
    """Runs nothing: what becomes workers here comes by itself."""

    async def start(self) -> None: ...
    async def check(self, needs: object) -> None: ...
    async def launch(self, batch_name: str, credentials: str | None = None) -> None: ...
    async def cancel(self, batch_name: str) -> None: ...
    async def close(self) -> None: ...
    def kill(self) -> None: ...


class Batch:
    """A batch that waits for Pods.

    Attributes:
        name: Its name.
        token: Its enrollment token.
    """

    def __init__(self, running_app: RunningApp, service: AIAutoServiceClient, name: str) -> None:
        self._app = running_app
        self.service = service
        self.name = name
        self.token = ""

    @contextlib.asynccontextmanager
    async def enrollment(self) -> AsyncGenerator[EnrollmentServiceClient]:
        async with connect.Transport(self._app.url, token=self.token) as transport:
            yield EnrollmentServiceClient(transport)

    async def enroll(self, pod_name: str, gpu_share: str = "") -> str:
        async with self.enrollment() as client:
            request = v1.EnrollWorkerRequest(pod_name=pod_name, gpu_share=gpu_share)
            return (await client.enroll_worker(request)).token

    @contextlib.asynccontextmanager
    async def worker(self, token: str) -> AsyncGenerator[RunnerServiceClient]:
        async with connect.Transport(self._app.url, token=token) as transport:
            yield RunnerServiceClient(transport)

    async def pods(self) -> list[v1.PodInfo]:
        request = v1.ListTrialBatchPodsRequest(trialbatch_name=self.name)
        return (await self.service.list_trial_batch_pods(request)).pods


async def new_batch(running_app: RunningApp, service: AIAutoServiceClient, **more: object) -> Batch:
    spec = v1.TrialBatchSpec(study_name="study", n_trials=10, parallelism=PARALLELISM, **more)  # type: ignore[arg-type]
    answer = await service.optimize(v1.OptimizeRequest(objective=pack(objective), batch=spec))
    batch = Batch(running_app, service, answer.trialbatch_name)
    token = await running_app.parts.batches.enrollment.issue_token(batch.name)
    assert token is not None
    batch.token = token
    return batch


@pytest.fixture
async def service(
    running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AIAutoServiceClient]:
    for name in ("start", "check", "launch", "cancel"):
        monkeypatch.setattr(running_app.parts.executor, name, getattr(Idle(), name))
    token = await running_app.token_of("someone")
    async with connect.Transport(running_app.url, token=token) as transport:
        service = AIAutoServiceClient(transport)
        await service.ensure_workspace(v1.EnsureWorkspaceRequest())
        study = v1.StudySpec(study_name="study", direction="minimize")
        await service.create_study(v1.CreateStudyRequest(spec=study))
        yield service


@pytest.fixture
async def batch(running_app: RunningApp, service: AIAutoServiceClient) -> Batch:
    return await new_batch(running_app, service)


async def test_a_pod_becomes_a_worker_by_its_name(batch: Batch) -> None:
    name = f"{batch.name}-0-abcde"
    token = await batch.enroll(name)
    async with batch.worker(token) as runner:
        request = v1.RegisterWorkerRequest(python_version="3.11.7", host_name="a-node")
        answer = await runner.register_worker(request)
        assert answer.worker_name == name
        assert answer.trialbatch_name == batch.name
        assert (await runner.acquire_lease(v1.AcquireLeaseRequest())).lease is not None
    (pod,) = await batch.pods()
    assert (pod.name, pod.phase, pod.node_name) == (name, "Running", "a-node")


async def test_one_that_asks_again_is_the_same_worker_and_its_old_token_is_void(
    batch: Batch,
) -> None:
    name = f"{batch.name}-0-abcde"
    first, second = await batch.enroll(name), await batch.enroll(name)
    async with batch.worker(second) as runner:
        await runner.register_worker(v1.RegisterWorkerRequest())
    async with batch.worker(first) as runner:
        with pytest.raises(errors.UnauthenticatedError):
            await runner.register_worker(v1.RegisterWorkerRequest())
    assert len(await batch.pods()) == 1


async def test_what_the_cluster_told_of_first_is_the_same_worker(
    running_app: RunningApp, batch: Batch
) -> None:
    name = f"{batch.name}-0-abcde"
    enrollment = running_app.parts.batches.enrollment
    await enrollment.note(batch.name, [Seen(name, "", "ImagePullBackOff", "no such image")])
    (pod,) = await batch.pods()
    (container,) = pod.container_statuses
    assert pod.phase == "Pending"
    assert container.state is not None
    assert container.state.waiting is not None
    assert container.state.waiting.reason == "ImagePullBackOff"
    assert container.state.waiting.message == "no such image"
    async with batch.worker(await batch.enroll(name)) as runner:
        await runner.register_worker(v1.RegisterWorkerRequest())
    (pod,) = await batch.pods()
    assert (pod.phase, pod.reason, pod.message) == ("Running", "", "")
    # What the cluster tells later of its beginning is old news.
    await enrollment.note(batch.name, [Seen(name, "", "ImagePullBackOff", "no such image")])
    assert (await batch.pods())[0].phase == "Running"


@pytest.mark.parametrize("name", ["", "other-0-abcde", "{}", "{}-" + "x" * 63])
async def test_no_other_name(batch: Batch, name: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="pod_name"):
        await batch.enroll(name.format(batch.name))


async def test_one_that_has_ended_stays_so(running_app: RunningApp, batch: Batch) -> None:
    name = f"{batch.name}-0-abcde"
    await batch.enroll(name)
    await running_app.parts.batches.worker_exited(
        name, exit_code=137, reason="OOMKilled", message="out of memory"
    )
    with pytest.raises(errors.AbortedError, match="has ended"):
        await batch.enroll(name)


async def test_no_more_than_there_can_be(batch: Batch) -> None:
    most = 2 * PARALLELISM + SPARE_WORKERS
    await asyncio.gather(*(batch.enroll(f"{batch.name}-{index}-a") for index in range(most)))
    with pytest.raises(errors.ResourceExhaustedError, match="parallelism"):
        await batch.enroll(f"{batch.name}-{most}-a")
    # Those that are there may come again.
    assert await batch.enroll(f"{batch.name}-0-a")


async def test_the_token_ends_with_the_batch(running_app: RunningApp, batch: Batch) -> None:
    await running_app.parts.batches.cancel(batch.name)
    running_app.parts.auth.forget()
    with pytest.raises(errors.UnauthenticatedError):
        await batch.enroll(f"{batch.name}-0-abcde")
    assert await running_app.parts.batches.enrollment.issue_token(batch.name) is None


async def test_a_batch_that_has_just_ended_enrolls_nobody(
    running_app: RunningApp, batch: Batch
) -> None:
    await batch.enroll(f"{batch.name}-0-abcde")
    await running_app.parts.batches.cancel(batch.name)
    # The token may be remembered for a moment.
    with pytest.raises((errors.AbortedError, errors.UnauthenticatedError)):
        await batch.enroll(f"{batch.name}-1-abcde")


async def test_trials_of_a_gpu_model_are_for_its_pods(
    running_app: RunningApp, service: AIAutoServiceClient
) -> None:
    batch = await new_batch(running_app, service, use_gpu=True, gpu_model={"a": 1, "b": 9})
    with pytest.raises(errors.InvalidArgumentError, match="gpu_share"):
        await batch.enroll(f"{batch.name}-x-0-abcde", "c")
    first = await batch.enroll(f"{batch.name}-a-0-abcde", "a")
    second = await batch.enroll(f"{batch.name}-a-1-abcde", "a")
    async with batch.worker(first) as runner:
        assert (await runner.acquire_lease(v1.AcquireLeaseRequest())).lease is not None
    async with batch.worker(second) as runner:
        assert (await runner.acquire_lease(v1.AcquireLeaseRequest())).lease is None


async def test_the_wheel_is_for_pods(running_app: RunningApp, batch: Batch) -> None:
    url = running_app.url + worker_wheel.PATH
    user = await running_app.token_of("someone")
    worker = await batch.enroll(f"{batch.name}-0-abcde")
    async with aiohttp.ClientSession() as session:
        for token in (None, "garbage", user, worker):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 401, token
        headers = {"Authorization": f"Bearer {batch.token}"}
        async with session.get(url, headers=headers) as answer:
            assert answer.status == 200
            assert (await answer.read()).startswith(b"PK")

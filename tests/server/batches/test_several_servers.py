"""Several servers on one database: a worker may speak to any of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import (
    AIAutoServiceClient,
    EnrollmentServiceClient,
    RunnerServiceClient,
)

from aiauto import connect
from aiauto.objective import pack
from aiauto.server.database.models import TrialBatch
from tests.server.conftest import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import optuna

    from tests.postgresql import PostgreSQL
    from tests.server.conftest import RunningApp

pytestmark = pytest.mark.once

TTL, GRACE = 1.5, 0.5


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
async def servers(
    tmp_path: Path, postgresql: PostgreSQL
) -> AsyncIterator[tuple[RunningApp, RunningApp]]:
    url = postgresql.create_database()
    how = {"database_url": url, "lease_ttl": TTL, "lease_grace": GRACE, "heartbeat_interval": 0.2}
    async with serving(tmp_path / "a", **how) as first, serving(tmp_path / "b", **how) as second:
        yield first, second


@pytest.mark.parametrize("speaks", [True, False])
async def test_a_worker_that_one_server_hears_is_dead_to_none(
    servers: tuple[RunningApp, RunningApp], monkeypatch: pytest.MonkeyPatch, *, speaks: bool
) -> None:
    first, second = servers

    async def launch(_batch_name: str, _credentials: str | None = None) -> None:
        """Start nothing: the worker is this test."""

    monkeypatch.setattr(first.parts.executor, "launch", launch)
    async with connect.Transport(first.url, token=await first.token_of("someone")) as transport:
        service = AIAutoServiceClient(transport)
        await service.ensure_workspace(v1.EnsureWorkspaceRequest())
        study = v1.StudySpec(study_name="study", direction="minimize")
        await service.create_study(v1.CreateStudyRequest(spec=study))
        spec = v1.TrialBatchSpec(study_name="study", n_trials=1, parallelism=1)
        request = v1.OptimizeRequest(objective=pack(objective), batch=spec)
        name = (await service.optimize(request)).trialbatch_name
    token = await first.parts.batches.enrollment.issue_token(name)
    assert token is not None
    async with connect.Transport(first.url, token=token) as transport:
        pod = v1.EnrollWorkerRequest(pod_name=f"{name}-0-abcde")
        token = (await EnrollmentServiceClient(transport).enroll_worker(pod)).token
    async with connect.Transport(second.url, token=token) as transport:
        runner = RunnerServiceClient(transport)
        await runner.register_worker(v1.RegisterWorkerRequest())
        lease = (await runner.acquire_lease(v1.AcquireLeaseRequest())).lease
        assert lease is not None
        ref = v1.LeaseRef(lease_id=lease.lease_id, fence=lease.fence)
        lost = False
        end = asyncio.get_running_loop().time() + 3 * (TTL + GRACE)
        while not lost and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.2)
            if speaks:
                lost = (await runner.heartbeat(v1.HeartbeatRequest(lease=ref))).lease_lost
    batch = await first.parts.database.read(
        lambda session: session.query(TrialBatch).filter_by(name=name).one()
    )
    assert lost is False
    assert batch.count_failed == (0 if speaks else 1)

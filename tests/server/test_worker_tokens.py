"""What a worker's token is good for in the journal, and how long: its batch, and no other."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.objective import pack
from aiauto.server import auth
from aiauto.server.database.models import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import optuna

    from tests.server.conftest import RunningApp

OWN, OTHER = "own-study", "other-study"


def returns_one(_trial: optuna.Trial) -> float:
    return 1.0


def creates(study_id: int, state: int = 0) -> dict[str, Any]:
    return {
        "op_code": 4,
        "study_id": study_id,
        "datetime_start": now().isoformat(),
        "state": state,
        **({"value": 1.0, "datetime_complete": now().isoformat()} if state == 1 else {}),
    }


def about_trial(trial_id: int) -> list[dict[str, Any]]:
    """Everything that can be written about a trial."""
    distribution = json.dumps(
        {
            "name": "FloatDistribution",
            "attributes": {"low": 0.0, "high": 1.0, "log": False, "step": None},
        }
    )
    return [
        {
            "op_code": 5,
            "trial_id": trial_id,
            "param_name": "x",
            "param_value_internal": 0.5,
            "distribution": distribution,
        },
        {"op_code": 7, "trial_id": trial_id, "step": 1, "intermediate_value": 0.5},
        {"op_code": 8, "trial_id": trial_id, "user_attr": {"a": 1}},
        {"op_code": 9, "trial_id": trial_id, "system_attr": {"a": 1}},
        {
            "op_code": 6,
            "trial_id": trial_id,
            "state": 1,
            "values": [1.0],
            "datetime_complete": now().isoformat(),
        },
    ]


class Bench:
    """A user with two studies, and a worker of a batch of the first who holds a lease."""

    def __init__(self, batch: str, user: connect.Transport, worker: connect.Transport) -> None:
        self.batch = batch
        self.service = stubs.AIAutoServiceClient(user)
        self.journal = stubs.JournalServiceClient(user)
        self.of_worker = stubs.JournalServiceClient(worker)
        self.runner = stubs.RunnerServiceClient(worker)
        self.lease: v1.LeaseRef | None = None

    async def append(self, *entries: dict[str, Any], **more: Any) -> v1.AppendEntriesResponse:
        """As the worker."""
        texts = [json.dumps({"worker_id": "w", **entry}) for entry in entries]
        return await self.of_worker.append_entries(
            v1.AppendEntriesRequest(
                entries=texts, request_id=uuid.uuid4().hex, lease=self.lease, **more
            )
        )

    async def entries(self) -> list[str]:
        return (await self.journal.read_entries(v1.ReadEntriesRequest())).entries


@pytest.fixture
async def bench(running_app: RunningApp) -> AsyncIterator[Bench]:
    token = await running_app.token_of("alice")
    async with connect.Transport(running_app.url, token=token, retries=connect.NO_RETRIES) as user:
        service = stubs.AIAutoServiceClient(user)
        await service.ensure_workspace(v1.EnsureWorkspaceRequest())
        for study in (OWN, OTHER):
            spec = v1.StudySpec(study_name=study, direction="minimize")
            await service.create_study(v1.CreateStudyRequest(spec=spec))
        # Trial 0 is the other study's: it was asked for by a program of the user's own.
        texts = [json.dumps({"worker_id": "u", **creates(1)})]
        request = v1.AppendEntriesRequest(entries=texts, request_id=uuid.uuid4().hex)
        await stubs.JournalServiceClient(user).append_entries(request)
        # No worker of the server's own comes in between.
        running_app.start_no_workers()
        optimize = v1.OptimizeRequest(
            objective=pack(returns_one),
            batch=v1.TrialBatchSpec(study_name=OWN, n_trials=3, parallelism=1),
        )
        batch = (await service.optimize(optimize)).trialbatch_name
        ticket = await running_app.parts.batches.create_worker(batch)
        async with connect.Transport(
            running_app.url, token=ticket.token, retries=connect.NO_RETRIES
        ) as worker:
            bench = Bench(batch, user, worker)
            await bench.runner.register_worker(v1.RegisterWorkerRequest())
            answer = await bench.runner.acquire_lease(v1.AcquireLeaseRequest())
            assert answer.lease
            bench.lease = v1.LeaseRef(lease_id=answer.lease.lease_id, fence=answer.lease.fence)
            yield bench


REFUSED = [
    {"op_code": 0, "study_name": "new-study", "directions": [1]},
    {"op_code": 1, "study_id": 0},
    {"op_code": 1, "study_id": 1},
    {"op_code": 2, "study_id": 1, "user_attr": {"a": 1}},
    {"op_code": 3, "study_id": 1, "system_attr": {"a": 1}},
    creates(1),
    creates(1, state=4),
    creates(1, state=1),
    *about_trial(0),
    # What Optuna does not look at changes nothing.
    {**about_trial(0)[0], "study_id": 0},
]


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: f"op {entry['op_code']}")
async def test_what_is_not_its_own(bench: Bench, entry: dict[str, Any]) -> None:
    before = await bench.entries()
    with pytest.raises(errors.PermissionDeniedError, match="A worker can't"):
        await bench.append(entry)
    with pytest.raises(errors.PermissionDeniedError, match="A worker can't"):
        await bench.append(creates(0), entry)
    assert await bench.entries() == before
    # It goes on as if nothing had been.
    await bench.append(creates(0), *about_trial(1))
    assert len(await bench.entries()) == len(before) + 6


async def test_its_next_trial(bench: Bench) -> None:
    begin = json.dumps({"worker_id": "w", **creates(1)})
    before = await bench.entries()
    with pytest.raises(errors.PermissionDeniedError, match="another study"):
        await bench.append(creates(0), *about_trial(1), acquire_next=True, begin_next=begin)
    assert await bench.entries() == before
    begin = json.dumps({"worker_id": "w", **creates(0)})
    answer = await bench.append(creates(0), *about_trial(1), acquire_next=True, begin_next=begin)
    assert answer.next_begun


async def test_all_that_is_its_own(bench: Bench) -> None:
    own: list[dict[str, Any]] = [
        {"op_code": 2, "study_id": 0, "user_attr": {"a": 1}},
        {"op_code": 3, "study_id": 0, "system_attr": {"a": 1}},
        creates(0),
        creates(0, state=4),
        creates(0, state=1),
        # A trial that an entry before creates, and one that is not there.
        *about_trial(1),
        {"op_code": 8, "trial_id": 99, "user_attr": {"a": 1}},
    ]
    before = await bench.entries()
    await bench.append(*own)
    assert len(await bench.entries()) == len(before) + len(own)


async def test_it_is_dead_with_its_batch(
    bench: Bench, running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever became of the worker: nobody here looks after it."""
    await bench.service.cancel_trial_batch(v1.CancelTrialBatchRequest(name=bench.batch))
    last_words = v1.AppendLogsRequest(request_id=uuid.uuid4().hex)
    await bench.runner.append_logs(last_words)
    monkeypatch.setattr(auth, "LAST_WORDS", timedelta(0))
    running_app.parts.auth.forget()
    for call in (
        bench.runner.append_logs(last_words),
        bench.runner.acquire_lease(v1.AcquireLeaseRequest()),
        bench.of_worker.read_entries(v1.ReadEntriesRequest()),
    ):
        with pytest.raises(errors.UnauthenticatedError, match="not valid"):
            await call
    # The user's own token is none of a batch.
    await bench.entries()


async def test_it_is_dead_with_its_worker(bench: Bench, running_app: RunningApp) -> None:
    (worker,) = await running_app.parts.batches.live_workers(bench.batch)
    await running_app.parts.batches.worker_exited(
        worker.name, exit_code=0, reason="Completed", message=""
    )
    running_app.parts.auth.forget()
    with pytest.raises(errors.UnauthenticatedError, match="not valid"):
        await bench.runner.acquire_lease(v1.AcquireLeaseRequest())

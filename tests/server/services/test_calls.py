"""Calls over a socket: by the generated client, and by hand as curl makes them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.objective import pack
from aiauto.server.services.log import Ends
from aiauto.status import trial_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import optuna

    from aiauto import Objective
    from tests.server.conftest import RunningApp

SERVICE = "/aiauto.v1.AIAutoService/"


def draw(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


class Caller:
    """A user's clients."""

    def __init__(self, transport: connect.Transport) -> None:
        self.service = stubs.AIAutoServiceClient(transport)
        self.journal = stubs.JournalServiceClient(transport)
        self.progress = stubs.ProgressServiceClient(transport)
        self.log = stubs.LogServiceClient(transport)
        self.runner = stubs.RunnerServiceClient(transport)

    async def create_study(self, name: str, **spec: Any) -> None:
        spec.setdefault("direction", "minimize")
        await self.service.create_study(
            v1.CreateStudyRequest(spec=v1.StudySpec(study_name=name, **spec))
        )

    async def optimize(
        self, study_name: str, request_id: str = "", objective: Objective = draw, **given: float
    ) -> str:
        spec: dict[str, Any] = {"n_trials": 2, "parallelism": 1, **given}
        response = await self.service.optimize(
            v1.OptimizeRequest(
                objective=pack(objective),
                batch=v1.TrialBatchSpec(study_name=study_name, **spec),
                request_id=request_id,
            )
        )
        return response.trialbatch_name


@pytest.fixture
async def alice(running_app: RunningApp) -> AsyncIterator[Caller]:
    token = await running_app.token_of("alice")
    async with connect.Transport(running_app.url, token=token) as transport:
        caller = Caller(transport)
        await caller.service.ensure_workspace(v1.EnsureWorkspaceRequest())
        yield caller


@pytest.fixture
async def bob(running_app: RunningApp) -> AsyncIterator[Caller]:
    token = await running_app.token_of("bob")
    async with connect.Transport(running_app.url, token=token) as transport:
        caller = Caller(transport)
        await caller.service.ensure_workspace(v1.EnsureWorkspaceRequest())
        yield caller


async def test_a_batch_from_beginning_to_end(alice: Caller) -> None:
    await alice.create_study("a_study")
    name = await alice.optimize("a_study", n_trials=3, parallelism=2)
    phases: list[str] = []
    last = v1.WatchTrialBatchResponse()
    async with alice.progress.watch_trial_batch(
        v1.WatchTrialBatchRequest(trialbatch_name=name), timeout=60
    ) as stream:
        async for response in stream:
            assert response.status is not None
            phases.append(response.status.phase)
            last = response
    assert phases[-1] == "Succeeded"
    assert last.status is not None
    assert last.status.count_succeeded == last.status.count_total == 3
    assert last.best_trial is not None
    status = await alice.service.get_status(
        v1.GetStatusRequest(study_name="a_study", trialbatch_name=name, include_trials=True)
    )
    trials = status.trialbatches[name].completed_trials
    assert sorted(trial.trial_number for trial in trials.values()) == [0, 1, 2]
    assert min(t.value for t in trials.values()) == last.best_trial.value
    assert all(t.user_attrs["trialbatch_name"] == f'"{name}"' for t in trials.values())
    pods = await alice.service.list_trial_batch_pods(
        v1.ListTrialBatchPodsRequest(trialbatch_name=name)
    )
    assert {pod.name for pod in pods.pods} >= {trial.pod_name for trial in trials.values()}
    listed = await alice.service.list_trial_batches(v1.ListTrialBatchesRequest())
    assert [batch.name for batch in listed.trial_batches] == [name]
    await alice.service.delete_trial_batch(v1.DeleteTrialBatchRequest(name=name))
    await alice.service.delete_trial_batch(v1.DeleteTrialBatchRequest(name=name))
    with pytest.raises(errors.NotFoundError, match="there is no batch"):
        await alice.service.get_trial_batch(v1.GetTrialBatchRequest(name=name))


def of_each_kind(trial: optuna.Trial) -> float:
    import optuna

    if trial.number == 1:
        raise optuna.TrialPruned  # before it has reported anything
    if trial.number == 2:
        trial.report(0.0, step=0)
        raise optuna.TrialPruned
    if trial.number == 3:
        raise ArithmeticError
    return 0.0


def failing(_trial: optuna.Trial) -> float:
    raise ArithmeticError


def never(_trial: optuna.Trial) -> float:
    import time

    time.sleep(600)
    return 0.0


async def test_what_is_told_of_what_has_ended_is_true(alice: Caller) -> None:
    async def phase() -> str:
        (study,) = (await alice.service.list_studies(v1.ListStudiesRequest())).studies
        return study.phase

    async def ended(objective: Objective, trials: int) -> str:
        name = await alice.optimize("a_study", objective=objective, n_trials=trials)
        # To the last word of its workers.
        async for _ in alice.log.stream_logs(
            v1.StreamLogsRequest(trialbatch_name=name, follow=True)
        ):
            pass
        return name

    await alice.create_study("a_study")
    assert await phase() == "Pending"
    await ended(failing, 1)
    assert await phase() == "Failed"
    name = await ended(of_each_kind, 4)
    # The study is usable, though its first batch was not.
    assert await phase() == "Succeeded"

    pods = await alice.service.list_trial_batch_pods(
        v1.ListTrialBatchPodsRequest(trialbatch_name=name)
    )
    assert [(pod.phase, pod.message) for pod in pods.pods] == [("Succeeded", "")]
    answer = await alice.service.get_status(
        v1.GetStatusRequest(study_name="a_study", trialbatch_name=name, include_trials=True)
    )
    batch = answer.trialbatches[name]
    reasons = {one.type.rpartition("CONDITION_")[2]: one.reason for one in batch.conditions}
    assert reasons == {
        "READY": "Accepted",
        "PODS_RUNNING": "Finished",
        "PROGRESSING": "Finished",
        "COMPLETE": "Finished",
        "DEGRADED": "TrialsFailed",
    }
    trials = sorted(batch.completed_trials.values(), key=lambda one: one.trial_number)
    # A value of 0 is one, and none is none.
    assert [(one.state, trial_value(one)) for one in trials] == [
        ("PRUNED", None),
        ("PRUNED", 0.0),
        ("FAIL", None),
        ("COMPLETE", 0.0),
    ]

    running = await alice.optimize("a_study", objective=never, n_trials=1)
    async with alice.progress.watch_trial_batch(
        v1.WatchTrialBatchRequest(trialbatch_name=running), timeout=60
    ) as stream:
        async for response in stream:
            if response.status is not None and response.status.count_active:
                break
    assert await phase() == "Running"
    await alice.service.cancel_trial_batch(v1.CancelTrialBatchRequest(name=running))
    assert await phase() == "Succeeded"


async def test_what_is_not_yours_is_not_there(alice: Caller, bob: Caller) -> None:
    await alice.create_study("secret")
    name = await alice.optimize("secret")
    nothing = "nothing-00000000"
    for ours, theirs in (
        (v1.GetStatusRequest(study_name="none"), v1.GetStatusRequest(study_name="secret")),
        (v1.GetTrialBatchRequest(name=nothing), v1.GetTrialBatchRequest(name=name)),
        (
            v1.ListTrialBatchPodsRequest(trialbatch_name=nothing),
            v1.ListTrialBatchPodsRequest(trialbatch_name=name),
        ),
        (
            v1.ListTrialBatchesByStudyRequest(study_name="none"),
            v1.ListTrialBatchesByStudyRequest(study_name="secret"),
        ),
    ):
        call = {
            v1.GetStatusRequest: bob.service.get_status,
            v1.GetTrialBatchRequest: bob.service.get_trial_batch,
            v1.ListTrialBatchPodsRequest: bob.service.list_trial_batch_pods,
            v1.ListTrialBatchesByStudyRequest: bob.service.list_trial_batches_by_study,
        }[type(ours)]
        messages: list[str] = []
        for request in (ours, theirs):
            with pytest.raises(errors.NotFoundError) as caught:
                await call(request)  # type: ignore[operator]
            messages.append(caught.value.message)
        # Answered in the same words, but for the name.
        assert messages[0].replace("none", "?").replace(nothing, "?") == messages[1].replace(
            name, "?"
        ).replace("secret", "?")
    with pytest.raises(errors.NotFoundError):
        await bob.optimize("secret")
    with pytest.raises(errors.NotFoundError):
        async for _ in bob.progress.watch_trial_batch(
            v1.WatchTrialBatchRequest(trialbatch_name=name)
        ):
            pass
    for wanted in (
        v1.StreamLogsRequest(trialbatch_name=name),
        v1.StreamLogsRequest(study_name="secret"),
    ):
        with pytest.raises(errors.NotFoundError):
            async for _ in bob.log.stream_logs(wanted):
                pass
    await bob.service.delete_study(v1.DeleteStudyRequest(name="secret"))
    await bob.service.delete_trial_batch(v1.DeleteTrialBatchRequest(name=name))
    assert (await bob.service.list_studies(v1.ListStudiesRequest())).studies == []
    assert (await bob.journal.read_entries(v1.ReadEntriesRequest())).length == 0
    assert (await alice.service.get_trial_batch(v1.GetTrialBatchRequest(name=name))).trial_batch


async def test_lines_are_those_of_a_batch_or_of_a_study(alice: Caller) -> None:
    for wanted in (
        v1.StreamLogsRequest(),
        v1.StreamLogsRequest(trialbatch_name="one", study_name="another"),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="the one or the other"):
            async for _ in alice.log.stream_logs(wanted):
                pass


@pytest.mark.parametrize("days", [-1, 1])
async def test_the_clock_is_set_while_lines_are_followed(
    alice: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]

    def objective(trial: optuna.Trial) -> float:
        import time

        print("begun", trial.number)
        while not gates[trial.number].exists():
            time.sleep(0.05)
        print("ended", trial.number)
        return 1.0

    await alice.create_study("a_study")
    name = await alice.optimize("a_study", objective=objective)
    wanted = v1.StreamLogsRequest(trialbatch_name=name, trial_number=0, follow=True)
    texts: list[str] = []
    # The batch goes on: the stream ends since its trial has ended, however the clock is set.
    async with alice.log.stream_logs(wanted, timeout=60) as stream:
        async for answer in stream:
            texts += [line.text for line in answer.lines]
            other = datetime.now(timezone.utc) + timedelta(days=days)
            monkeypatch.setattr("aiauto.server.services.log.now", lambda: other)  # noqa: B023
            gates[0].touch()
    assert texts == ["begun 0", "ended 0"]
    gates[1].touch()
    everything = v1.StreamLogsRequest(trialbatch_name=name, follow=True)
    async with alice.log.stream_logs(everything, timeout=60) as stream:
        texts = [line.text async for answer in stream for line in answer.lines]
    assert texts == ["begun 0", "ended 0", "begun 1", "ended 1"]


def test_how_long_ago_something_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, clock = [100.0], [datetime(2026, 1, 1, 12, tzinfo=timezone.utc)]
    monkeypatch.setattr("aiauto.server.services.log.now", lambda: clock[0])
    ends = Ends(lambda: moment[0])
    seen, met = ("trial", 1), ("trial", 2)
    assert not ends.are_past(seen, None, 2)
    # What the stream has seen running has ended since, whatever the clock says.
    assert not ends.are_past(seen, clock[0] - timedelta(days=1), 2)
    # What had ended before is as old as the clock says at first.
    assert not ends.are_past(met, clock[0] - timedelta(seconds=1), 2)
    assert ends.are_past(("trial", 3), clock[0] - timedelta(seconds=2), 2)
    assert not ends.are_past(("trial", 4), clock[0] + timedelta(days=1), 2)
    clock[0] -= timedelta(days=1)
    moment[0] += 1
    assert ends.are_past(met, clock[0], 2)
    assert not ends.are_past(seen, clock[0], 2)
    moment[0] += 1
    assert ends.are_past(seen, clock[0], 2)
    assert ends.are_past(("trial", 4), clock[0], 2)


async def test_only_workers_may_do_what_workers_do(alice: Caller, running_app: RunningApp) -> None:
    with pytest.raises(errors.PermissionDeniedError, match="Only workers"):
        await alice.runner.acquire_lease(v1.AcquireLeaseRequest())
    with pytest.raises(errors.PermissionDeniedError, match="only workers append under a lease"):
        await alice.journal.append_entries(
            v1.AppendEntriesRequest(request_id="1", lease=v1.LeaseRef(lease_id="1"))
        )
    with pytest.raises(errors.PermissionDeniedError, match="acquire_next: only workers"):
        await alice.journal.append_entries(
            v1.AppendEntriesRequest(request_id="1", acquire_next=True)
        )
    await alice.create_study("study")
    name = await alice.optimize("study", n_trials=1)
    ticket = await running_app.parts.batches.create_worker(name)
    async with connect.Transport(running_app.url, token=ticket.token) as transport:
        worker = Caller(transport)
        for call in (
            worker.service.list_studies(v1.ListStudiesRequest()),
            worker.service.create_token(v1.CreateTokenRequest()),
            worker.service.delete_workspace(v1.DeleteWorkspaceRequest()),
        ):
            with pytest.raises(errors.PermissionDeniedError, match="worker's token"):
                await call
        await running_app.parts.batches.worker_exited(
            ticket.worker_name, exit_code=0, reason="Completed", message=""
        )
        running_app.parts.auth.forget()
        with pytest.raises(errors.UnauthenticatedError):
            await worker.runner.acquire_lease(v1.AcquireLeaseRequest())


async def test_a_study_is_opened_again_or_refused(alice: Caller) -> None:
    await alice.create_study("s", sampler_json='{"cls":"RandomSampler","kwargs":{}}')
    await alice.create_study("s", sampler_json='{"cls":"RandomSampler","kwargs":{}}')
    with pytest.raises(errors.AlreadyExistsError, match="direction"):
        await alice.create_study(
            "s", direction="maximize", sampler_json='{"cls":"RandomSampler","kwargs":{}}'
        )
    with pytest.raises(errors.AlreadyExistsError, match="another sampler"):
        await alice.create_study("s")
    listed = (await alice.service.list_studies(v1.ListStudiesRequest())).studies
    assert [(one.study_name, one.direction) for one in listed] == [("s", "minimize")]
    await alice.service.delete_study(v1.DeleteStudyRequest(name="s"))
    await alice.service.delete_study(v1.DeleteStudyRequest(name="s"))
    await alice.create_study("s", direction="maximize")


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "ä", "a/b", "a" * 64, "..", "a\n"])
async def test_names_are_checked(alice: Caller, name: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="study_name"):
        await alice.create_study(name)


async def test_a_request_that_comes_twice_makes_one_batch(alice: Caller) -> None:
    await alice.create_study("twice")
    first = await alice.optimize("twice", "the same")
    assert await alice.optimize("twice", "the same") == first
    assert await alice.optimize("twice", "another") != first


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"n_trials": 0}, "n_trials"),
        ({"parallelism": -1}, "parallelism"),
        ({"timeout_seconds": 0.0}, "timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"trial_timeout_seconds": -1.0}, "trial_timeout_seconds"),
        ({"trial_timeout_seconds": float("inf")}, "trial_timeout_seconds"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 101}, "max_retries"),
        ({"patience": -1}, "patience"),
    ],
)
async def test_batches_are_checked(alice: Caller, spec: dict[str, Any], word: str) -> None:
    await alice.create_study("checked")
    with pytest.raises(errors.InvalidArgumentError, match=word):
        await alice.optimize("checked", "", **spec)


async def test_a_workspace_comes_and_goes(alice: Caller) -> None:
    await alice.create_study("gone")
    (workspace,) = (await alice.service.list_workspaces(v1.ListWorkspacesRequest())).workspaces
    assert workspace.dashboard_url.startswith("http://127.0.0.1")
    await alice.service.delete_workspace(v1.DeleteWorkspaceRequest())
    with pytest.raises(errors.NotFoundError, match="EnsureWorkspace"):
        await alice.create_study("gone")
    with pytest.raises(errors.InvalidArgumentError, match="storage_size"):
        await alice.service.ensure_workspace(v1.EnsureWorkspaceRequest(storage_size="11Gi"))
    await alice.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    assert (await alice.service.list_studies(v1.ListStudiesRequest())).studies == []


async def test_what_this_server_does_not_have(alice: Caller) -> None:
    assert (await alice.service.list_pvcs_by_user_id(v1.ListPvcsByUserIdRequest())).pvcs == []
    with pytest.raises(errors.NotFoundError, match="no persistent volume"):
        await alice.service.get_workspace_pvc(v1.GetWorkspacePvcRequest())
    await alice.service.list_gpu_flavors(v1.ListGpuFlavorsRequest())


async def test_a_stopping_server_ends_its_streams(alice: Caller, running_app: RunningApp) -> None:
    await alice.create_study("waiting")
    name = await alice.optimize("waiting", n_trials=1000)

    async def watch() -> None:
        async for _ in alice.progress.watch_trial_batch(
            v1.WatchTrialBatchRequest(trialbatch_name=name)
        ):
            pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.5)
    running_app.parts.batches.close()
    with pytest.raises(errors.UnavailableError, match="stopping"):
        await asyncio.wait_for(watching, 10)


async def post(
    running_app: RunningApp, method: str, body: str, **headers: str
) -> tuple[int, dict[str, str]]:
    headers = {"Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.post(running_app.url + SERVICE + method, data=body, headers=headers) as response,
    ):
        return response.status, await response.json()


async def test_by_hand(running_app: RunningApp) -> None:
    known = {"Authorization": f"Bearer {await running_app.token_of('carol')}"}
    assert (await post(running_app, "EnsureWorkspace", "{}", **known))[0] == 200
    body = '{"spec": {"studyName": "by_hand", "direction": "minimize"}}'
    assert await post(running_app, "CreateStudy", body, **known) == (200, {"studyName": "by_hand"})
    status, answer = await post(running_app, "GetStatus", '{"studyName": "by_hand"}', **known)
    assert (status, answer["studyName"]) == (200, "by_hand")


@pytest.mark.parametrize(
    ("method", "body", "token", "status", "code", "words"),
    [
        ("GetStatus", "{}", None, 401, "unauthenticated", "carries no token"),
        ("GetStatus", "{}", "aiauto_wrong", 401, "unauthenticated", "not valid"),
        ("GetStatuss", "{}", "good", 404, "unimplemented", "no method"),
        ("GetStatus", "{", "good", 400, "invalid_argument", "JSON"),
        ("GetStatus", '{"studyName": 5}', "good", 400, "invalid_argument", "studyName"),
        ("GetStatus", '{"studyName": "nope"}', "good", 404, "not_found", "nope"),
    ],
)
async def test_mistakes_by_hand(
    running_app: RunningApp,
    method: str,
    body: str,
    token: str | None,
    status: int,
    code: str,
    words: str,
) -> None:
    if token == "good":
        token = await running_app.token_of("dave")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    got, answer = await post(running_app, method, body, **headers)
    assert (got, answer["code"]) == (status, code)
    assert words in answer["message"]
    assert "Traceback" not in answer["message"]


async def test_two_tokens_are_none(running_app: RunningApp) -> None:
    # A proxy in front may have looked at the other one.
    token = f"Bearer {await running_app.token_of('erin')}"
    url = running_app.url + SERVICE + "EnsureWorkspace"
    kind = ("Content-Type", "application/json")
    async with aiohttp.ClientSession() as session:
        for times, status in ((1, 200), (2, 401)):
            headers = [kind, *[("Authorization", token)] * times]
            async with session.post(url, data="{}", headers=headers) as response:
                assert response.status == status


async def test_text_that_no_database_keeps(running_app: RunningApp, alice: Caller) -> None:
    with pytest.raises(errors.NotFoundError, match="there is no study"):
        await alice.service.get_status(v1.GetStatusRequest(study_name="a\0b"))
    await alice.create_study(
        "plain", sampler_json='{"cls": "RandomSampler", "kwargs": {"a": "\\u0000"}}'
    )
    name = await alice.optimize("plain", request_id="\0", n_trials=1)
    assert await alice.optimize("plain", request_id="\0", n_trials=1) == name
    await running_app.parts.batches.fail_batch(name, "broken\0here")
    batch = await alice.service.get_trial_batch(v1.GetTrialBatchRequest(name=name))
    assert batch.trial_batch is not None
    assert batch.trial_batch.status is not None
    assert batch.trial_batch.status.last_error == "broken\N{REPLACEMENT CHARACTER}here"

"""What a user may have and do at once, and what happens above that: over a socket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.server.limits import Limits
from aiauto.server.settings import Settings
from tests.server.conftest import serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.server.conftest import RunningApp


@contextlib.asynccontextmanager
async def caller(app: RunningApp, user: str = "alice") -> AsyncGenerator[stubs.AIAutoServiceClient]:
    retries = connect.NO_RETRIES
    token = await app.token_of(user)
    async with connect.Transport(app.url, token=token, retries=retries) as transport:
        client = stubs.AIAutoServiceClient(transport)
        await client.ensure_workspace(v1.EnsureWorkspaceRequest())
        yield client


def study(name: str) -> v1.CreateStudyRequest:
    spec = v1.StudySpec(study_name=name, direction="minimize")
    return v1.CreateStudyRequest(spec=spec)


def batch(study_name: str, **more: Any) -> v1.OptimizeRequest:
    spec: dict[str, Any] = {"study_name": study_name, "n_trials": 1, "parallelism": 1, **more}
    return v1.OptimizeRequest(
        objective=v1.ObjectivePayload(pickled=b"never read"), batch=v1.TrialBatchSpec(**spec)
    )


async def test_studies(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", limits=Limits(max_studies=2)) as app,
        caller(app) as alice,
        caller(app, "bob") as bob,
    ):
        for name in ("one", "two"):
            await alice.create_study(study(name))
        with pytest.raises(errors.ResourceExhaustedError, match=r"limit is 2.*AIAUTO_MAX_STUDIES"):
            await alice.create_study(study("three"))
        await alice.create_study(study("two"))  # it is there already
        await bob.create_study(study("three"))  # and others have limits of their own
        await alice.delete_study(v1.DeleteStudyRequest(name="one"))
        await alice.create_study(study("three"))


def start_no_workers(app: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets batches go on for as long as the test wants."""

    async def launch(_name: str) -> None:
        pass

    monkeypatch.setattr(app.parts.executor, "launch", launch)


async def test_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        serving(tmp_path / "data", limits=Limits(max_batches=2)) as app,
        caller(app) as alice,
    ):
        start_no_workers(app, monkeypatch)
        await alice.create_study(study("one"))
        first = await alice.optimize(batch("one"))
        # Together: only one of them finds room.
        both = await asyncio.gather(
            alice.optimize(batch("one")), alice.optimize(batch("one")), return_exceptions=True
        )
        (refused,) = (one for one in both if isinstance(one, errors.ResourceExhaustedError))
        assert "AIAUTO_MAX_BATCHES" in str(refused)
        await app.parts.batches.cancel(first.trialbatch_name)
        await alice.optimize(batch("one"))


@pytest.mark.parametrize(
    ("field", "limit"), [("n_trials", "trials"), ("parallelism", "parallelism")]
)
async def test_the_size_of_a_batch(tmp_path: Path, field: str, limit: str) -> None:
    limits = Limits(max_trials=7, max_parallelism=7)
    async with serving(tmp_path / "data", limits=limits) as app, caller(app) as alice:
        await alice.create_study(study("one"))
        for number in (8, 2**31 - 1):
            told = f"{field} is {number}: this server's limit is 7.*AIAUTO_MAX_{limit.upper()}"
            with pytest.raises(errors.InvalidArgumentError, match=told):
                await alice.optimize(batch("one", **{field: number}))


async def test_the_size_of_a_message(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", max_message_bytes=100_000) as app, caller(app) as alice:
        await alice.create_study(study("one"))
        request = batch("one")
        assert request.objective is not None
        request.objective.pickled = bytes(100_001)
        with pytest.raises(errors.ResourceExhaustedError, match="100000"):
            await alice.optimize(request)


@pytest.mark.parametrize("what", ["artifact_store", "shared_cache"])
async def test_the_size_of_a_workspace(tmp_path: Path, what: str) -> None:
    limits = Limits(max_artifact_store_gib=1, max_shared_cache_gib=1)
    async with serving(tmp_path / "data", limits=limits) as app:
        token = await app.token_of("alice")
        async with connect.Transport(app.url, token=token) as transport:
            client = stubs.AIAutoServiceClient(transport)
            too_large = v1.EnsureWorkspaceRequest(**{f"{what}_size": "1025Mi"})
            variable = f"AIAUTO_MAX_{what.upper()}_GIB"
            with pytest.raises(errors.InvalidArgumentError, match=rf"limit is 1 .*{variable}"):
                await client.ensure_workspace(too_large)
            assert not (await client.list_workspaces(v1.ListWorkspacesRequest())).workspaces
            # Who names no size has what is left of the usual one.
            await client.ensure_workspace(v1.EnsureWorkspaceRequest())
            (made,) = (await client.list_workspaces(v1.ListWorkspacesRequest())).workspaces
            assert (made.artifact_store_size, made.shared_cache_size) == ("1Gi", "500Mi")


async def test_tokens(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", limits=Limits(max_tokens=5)) as app,
        caller(app) as alice,
        caller(app, "bob") as bob,
    ):
        results = await asyncio.gather(
            *(alice.create_token(v1.CreateTokenRequest(name=str(number))) for number in range(8)),
            return_exceptions=True,
        )
        refused = [one for one in results if isinstance(one, errors.ResourceExhaustedError)]
        kept = (await alice.list_tokens(v1.ListTokensRequest())).tokens
        assert (len(refused), len(kept)) == (4, 5)
        assert all("AIAUTO_MAX_TOKENS): revoke some" in str(one) for one in refused)
        await bob.create_token(v1.CreateTokenRequest())


async def test_open_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        serving(tmp_path / "data", limits=Limits(max_open_calls=2)) as app,
        caller(app) as alice,
        caller(app, "bob") as bob,
        connect.Transport(app.url, token=await app.token_of("alice")) as patient,
    ):
        start_no_workers(app, monkeypatch)
        await alice.create_study(study("one"))
        name = (await alice.optimize(batch("one"))).trialbatch_name
        progress = stubs.ProgressServiceClient(patient)
        request = v1.WatchTrialBatchRequest(trialbatch_name=name)
        async with progress.watch_trial_batch(request) as first:
            await anext(first)
            async with progress.watch_trial_batch(request) as second:
                await anext(second)
                with pytest.raises(errors.ResourceExhaustedError, match="MAX_OPEN_CALLS") as no:
                    await alice.list_studies(v1.ListStudiesRequest())
                assert [one.type_name for one in no.value.details] == ["google.rpc.RetryInfo"]
                await bob.list_studies(v1.ListStudiesRequest())
                # Most clients wait for their turn by themselves.
                waiting = asyncio.create_task(
                    stubs.AIAutoServiceClient(patient).list_studies(v1.ListStudiesRequest())
                )
        await waiting


def test_limits_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().limits == Limits()
    monkeypatch.setenv("AIAUTO_MAX_BATCHES", "3")
    assert Settings.from_environment().limits == Limits(max_batches=3)
    for wrong in ("0", "-1", "many", "1.5", "9" * 30):
        monkeypatch.setenv("AIAUTO_MAX_BATCHES", wrong)
        with pytest.raises(errors.ArgumentValueError, match=r"MAX_BATCHES is|max_batches is 0"):
            Settings.from_environment()

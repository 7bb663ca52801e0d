"""What a user may have and do at once, and what happens above that: over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.server.limits import Limits, variable_of
from aiauto.server.settings import Settings
from tests.server.conftest import serving, until

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

    async def launch(_name: str, _credentials: str | None) -> None:
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
        told = "limit is 100000 .*AIAUTO_MAX_MESSAGE_BYTES"
        with pytest.raises(errors.ResourceExhaustedError, match=told):
            await alice.optimize(request)
        # Those of streams are read by another way.
        token = await app.token_of("bob")
        async with connect.Transport(app.url, token=token) as transport:
            progress = stubs.ProgressServiceClient(transport)
            large = v1.WatchTrialBatchRequest(trialbatch_name="x" * 100_001)
            with pytest.raises(errors.ResourceExhaustedError, match=told):
                await anext(aiter(progress.watch_trial_batch(large)))


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


async def test_connections(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        app = await stack.enter_async_context(
            serving(tmp_path / "data", limits=Limits(max_connections=2))
        )
        alice, bob = [await app.token_of(name) for name in ("alice", "bob")]
        # Each has a connection of its own, which stays open.
        first, second, third, other = [
            await stack.enter_async_context(aiohttp.ClientSession(app.url)) for _ in range(4)
        ]

        async def call(session: aiohttp.ClientSession, token: str) -> tuple[int, str]:
            path = "/aiauto.v1.AIAutoService/ListWorkspaces"
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(path, json={}, headers=headers) as answer:
                return answer.status, await answer.text()

        async def page(session: aiohttp.ClientSession, token: str) -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get("/token", headers=headers) as answer:
                return answer.status, await answer.text()

        assert [(await ask(one, alice))[0] for one, ask in ((first, call), (second, page))] == [
            200,
            200,
        ]
        for ask in (call, page):
            status, text = await ask(third, alice)
            assert status == 429
            assert "this server's limit is 2 (its admin sets AIAUTO_MAX_CONNECTIONS)" in text
        # Those that there are serve on, and so do those of others.
        for ask in (call, page):
            assert [(await ask(one, alice))[0] for one in (first, second)] == [200, 200]
            assert (await ask(other, bob))[0] == 200
        await first.close()

        async def has_room() -> bool:
            return (await call(third, alice))[0] == 200

        await until(has_room)
        # What a proxy uses for another one now is that one's.
        assert (await call(second, bob))[0] == 200
        assert (await call(other, alice))[0] == 200
        assert (await call(second, alice))[0] == 429


def test_limits_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().limits == Limits()
    for field in dataclasses.fields(Limits):
        with monkeypatch.context() as patch:
            patch.setenv(variable_of(field.name), "3")
            assert Settings.from_environment().limits == Limits(**{field.name: 3})
    others = (
        "max_message_bytes", "max_page_body_bytes", "journal_rate", "journal_burst",
        "header_timeout", "body_timeout", "keepalive_timeout",
    )  # fmt: skip
    for name in others:
        with monkeypatch.context() as patch:
            patch.setenv(variable_of(name), "12345")
            assert getattr(Settings.from_environment(), name) == 12345
    for wrong in ("0", "-1", "many", "1.5", "9" * 30):
        monkeypatch.setenv("AIAUTO_MAX_BATCHES", wrong)
        with pytest.raises(errors.ArgumentValueError, match=r"MAX_BATCHES is|max_batches is 0"):
            Settings.from_environment()

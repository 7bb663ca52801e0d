"""FileService and the shared cache over a socket: users, other users, workers."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.objective import pack
from aiauto.server.services import file as service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import optuna

    from tests.server.conftest import RunningApp

ARTIFACTS, CACHE = v1.FilePlace.ARTIFACTS, v1.FilePlace.SHARED_CACHE


class Caller:
    """Somebody's clients."""

    def __init__(self, transport: connect.Transport) -> None:
        self.files = stubs.FileServiceClient(transport)
        self.service = stubs.AIAutoServiceClient(transport)

    async def put(self, place: v1.FilePlace, path: str, content: bytes) -> None:
        begun = await self.files.begin_upload(
            v1.BeginUploadRequest(
                place=place,
                path=path,
                size=len(content),
                sha256=hashlib.sha256(content).digest(),
            )
        )
        await self.files.write_upload(
            v1.WriteUploadRequest(upload_id=begun.upload_id, data=content)
        )
        await self.files.finish_upload(v1.FinishUploadRequest(upload_id=begun.upload_id))

    async def get(
        self, place: v1.FilePlace, path: str, offset: int = 0, version: str = ""
    ) -> tuple[bytes, v1.DownloadResponse]:
        request = v1.DownloadRequest(place=place, path=path, offset=offset, version=version)
        answers = [answer async for answer in self.files.download(request)]
        return b"".join(answer.data for answer in answers), answers[0]

    async def paths(self, place: v1.FilePlace, **request: str) -> list[str]:
        answer = await self.files.list_files(v1.ListFilesRequest(place=place, **request))
        return [file.path for file in answer.files]


@pytest.fixture
async def alice(running_app: RunningApp) -> AsyncIterator[Caller]:
    token = await running_app.token_of("alice")
    async with connect.Transport(running_app.url, token=token) as transport:
        caller = Caller(transport)
        await caller.service.ensure_workspace(
            v1.EnsureWorkspaceRequest(artifact_store_size="1Mi", shared_cache_size="1Mi")
        )
        yield caller


@pytest.fixture
async def bob(running_app: RunningApp) -> AsyncIterator[Caller]:
    token = await running_app.token_of("bob")
    async with connect.Transport(running_app.url, token=token) as transport:
        caller = Caller(transport)
        await caller.service.ensure_workspace(v1.EnsureWorkspaceRequest())
        yield caller


def never(trial: optuna.Trial) -> float:
    import time

    time.sleep(600)
    return 0.0


@pytest.fixture
async def worker(running_app: RunningApp, alice: Caller) -> AsyncIterator[Caller]:
    """A worker of a batch of alice's."""
    spec = v1.StudySpec(study_name="study", direction="minimize")
    await alice.service.create_study(v1.CreateStudyRequest(spec=spec))
    batch = v1.TrialBatchSpec(study_name="study", n_trials=1, parallelism=1)
    started = await alice.service.optimize(v1.OptimizeRequest(objective=pack(never), batch=batch))
    ticket = await running_app.parts.batches.create_worker(started.trialbatch_name)
    async with connect.Transport(running_app.url, token=ticket.token) as transport:
        yield Caller(transport)


async def test_there_and_back(alice: Caller) -> None:
    content = os.urandom(700_000)
    await alice.put(CACHE, "data/train.bin", content)
    back, first = await alice.get(CACHE, "data/train.bin")
    assert back == content
    assert first.size == len(content)
    assert (await alice.get(CACHE, "data/train.bin", 600_000, first.version))[0] == content[
        600_000:
    ]
    assert (await alice.get(CACHE, "data/train.bin", 700_000))[0] == b""
    with pytest.raises(errors.OutOfRangeError, match="has 700000 bytes"):
        await alice.get(CACHE, "data/train.bin", 700_001)
    await alice.put(CACHE, "data/train.bin", b"other")
    with pytest.raises(errors.AbortedError, match="another file by now"):
        await alice.get(CACHE, "data/train.bin", 5, first.version)


async def test_another_users_files_are_not_there(alice: Caller, bob: Caller) -> None:
    for place in (ARTIFACTS, CACHE):
        await alice.put(place, "mine", b"secret")
        with pytest.raises(errors.NotFoundError, match="no file 'mine'"):
            await bob.get(place, "mine")
        for path in ("../../1/artifacts/mine", "/mine", "..%2fmine", "..\\mine", "mi\0ne"):
            with pytest.raises((errors.InvalidArgumentError, errors.NotFoundError)):
                await bob.get(place, path)
        assert await bob.paths(place) == []
        deleted = await bob.files.delete_file(v1.DeleteFileRequest(place=place, path="mine"))
        assert not deleted.found
        assert (await alice.get(place, "mine"))[0] == b"secret"


async def test_a_limit_is_that_of_the_workspace(alice: Caller) -> None:
    await alice.put(ARTIFACTS, "one", bytes(600_000))
    with pytest.raises(
        errors.ResourceExhaustedError, match="artifact_store_size of this workspace"
    ):
        await alice.put(ARTIFACTS, "two", bytes(600_000))
    await alice.put(CACHE, "two", bytes(600_000))
    with pytest.raises(errors.ResourceExhaustedError, match="shared_cache_size of this workspace"):
        await alice.put(CACHE, "three", bytes(600_000))


async def test_a_long_list_comes_in_pages(alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{folder}/{number}" for folder in "ab" for number in range(4)]
    for name in reversed(names):
        await alice.put(CACHE, name, b"x")
    assert await alice.paths(CACHE) == names
    assert await alice.paths(CACHE, prefix="b/") == names[4:]
    assert await alice.paths(CACHE, prefix="b") == names[4:]
    monkeypatch.setattr(service, "MAX_LISTED", 3)
    pages: list[list[str]] = []
    request = v1.ListFilesRequest(place=CACHE)
    while True:
        answer = await alice.files.list_files(request)
        pages.append([file.path for file in answer.files])
        if not answer.more:
            break
        request.after = pages[-1][-1]
    assert pages == [names[:3], names[3:6], names[6:]]
    with pytest.raises(errors.InvalidArgumentError, match="after has more than"):
        await alice.paths(CACHE, after="x" * 1025)
    with pytest.raises(errors.InvalidArgumentError, match="place"):
        await alice.paths(v1.FilePlace.UNSPECIFIED)


async def test_the_calls_of_the_hosted_service(alice: Caller, bob: Caller) -> None:
    await alice.put(CACHE, "datasets/train.csv", b"1,2")
    answer = await alice.service.list_shared_cache(v1.ListSharedCacheRequest())
    (listed,) = json.loads(answer.json_response)["files"]
    assert (listed["name"], listed["size"]) == ("datasets/train.csv", 3)
    assert listed["modified"].endswith("Z")
    empty = await bob.service.list_shared_cache(v1.ListSharedCacheRequest())
    assert json.loads(empty.json_response) == {"files": []}
    request = v1.DeleteFromSharedCacheRequest(path="datasets/train.csv")
    for _ in range(2):
        deleted = await alice.service.delete_from_shared_cache(request)
        assert json.loads(deleted.json_response) == {"deleted": "datasets/train.csv"}
    assert await alice.paths(CACHE) == []
    for path in ("", "..", "/x"):
        with pytest.raises(errors.InvalidArgumentError, match="path"):
            await alice.service.delete_from_shared_cache(v1.DeleteFromSharedCacheRequest(path=path))


async def test_what_a_worker_may(alice: Caller, worker: Caller) -> None:
    await alice.put(ARTIFACTS, "of-alice", b"kept")
    # It sees and adds; and what is there it neither replaces nor deletes.
    assert (await worker.get(ARTIFACTS, "of-alice"))[0] == b"kept"
    await worker.put(ARTIFACTS, "of-worker", b"new")
    await worker.put(ARTIFACTS, "of-worker", b"new")
    with pytest.raises(errors.AlreadyExistsError, match="'of-alice' already"):
        await worker.put(ARTIFACTS, "of-alice", b"replaced")
    with pytest.raises(errors.PermissionDeniedError, match="delete artifacts"):
        await worker.files.delete_file(v1.DeleteFileRequest(place=ARTIFACTS, path="of-alice"))
    assert await alice.paths(ARTIFACTS) == ["of-alice", "of-worker"]
    # The shared cache is its own as well.
    await alice.put(CACHE, "data", b"old")
    await worker.put(CACHE, "data", b"new")
    assert (await alice.get(CACHE, "data"))[0] == b"new"
    assert (await worker.files.delete_file(v1.DeleteFileRequest(place=CACHE, path="data"))).found
    with pytest.raises(errors.PermissionDeniedError):
        await worker.service.list_shared_cache(v1.ListSharedCacheRequest())


async def test_without_a_workspace_and_without_a_token(running_app: RunningApp) -> None:
    token = await running_app.token_of("newcomer")
    async with connect.Transport(running_app.url, token=token) as transport:
        caller = Caller(transport)
        with pytest.raises(errors.NotFoundError, match="EnsureWorkspace"):
            await caller.paths(CACHE)
        with pytest.raises(errors.NotFoundError, match="EnsureWorkspace"):
            await caller.put(CACHE, "x", b"x")
    async with connect.Transport(running_app.url) as transport:
        with pytest.raises(errors.UnauthenticatedError):
            await Caller(transport).paths(CACHE)


async def test_a_deleted_workspace_takes_its_files_along(
    alice: Caller, bob: Caller, running_app: RunningApp
) -> None:
    for caller in (alice, bob):
        await caller.put(ARTIFACTS, "x", b"x")
    begun = await alice.files.begin_upload(
        v1.BeginUploadRequest(place=CACHE, path="y", size=1, sha256=bytes(32))
    )
    root = running_app.parts.files.store.root
    assert len(list(root.iterdir())) == 2
    await alice.service.delete_workspace(v1.DeleteWorkspaceRequest())
    assert len(list(root.iterdir())) == 1
    await alice.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    assert await alice.paths(ARTIFACTS) == []
    with pytest.raises(errors.NotFoundError):
        await alice.files.finish_upload(v1.FinishUploadRequest(upload_id=begun.upload_id))
    assert (await bob.get(ARTIFACTS, "x"))[0] == b"x"


async def test_where_the_store_answers(alice: Caller, running_app: RunningApp) -> None:
    answer = await alice.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    assert answer.artifact_store_url == running_app.url
    assert answer.tus_upload_url == ""

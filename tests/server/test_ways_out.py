"""Paths that lead out of a workspace's folders, over the socket: none leads to what others have.

A worker of this machine may put links into the folders of its own workspace. Whoever follows one
must not be the server, for it can read what the worker's user was not given.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.server import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiauto.connect.method import MethodInfo
    from tests.server.conftest import RunningApp

SECRET = b"what Ada has and Bob must not see"
MINE = b"what Bob sends"
CACHE, ARTIFACTS = v1.FilePlace.SHARED_CACHE, v1.FilePlace.ARTIFACTS
PLACES = (CACHE, ARTIFACTS)
# Every field by which a call names a file.
PATH_FIELDS = {"path", "prefix", "after"}
PATH_CALLS = {"BeginUpload", "Download", "ListFiles", "DeleteFile", "DeleteFromSharedCache"}
REFUSALS = (
    errors.AlreadyExistsError,
    errors.FailedPreconditionError,
    errors.InvalidArgumentError,
    errors.NotFoundError,
    errors.PermissionDeniedError,
)


class Folders:
    """Ada's files, and Bob's folders with links in them that lead there."""

    def __init__(self, app: RunningApp, ada: int, bob: int, tokens: dict[str, str]) -> None:
        self.app = app
        self.bob = bob
        # Bob's own, and that of a worker of his.
        self.tokens = tokens
        self.store = app.parts.files.store
        self.target = f"{ada}/artifacts/a1a1"
        (self.store.root.parent / "outside").write_bytes(SECRET)
        for place in PLACES:
            folder = self.store.folder(bob, place)
            (folder / "way").symlink_to(self.store.root / str(ada), target_is_directory=True)
            (folder / "file").symlink_to(self.store.root / self.target)
            (folder / "deep").mkdir()
            (folder / "deep" / "up").symlink_to("../../..", target_is_directory=True)
            (folder / "loop").symlink_to("loop")

    def paths(self) -> list[str]:
        """Ways to Ada's artifact, if anything in them meant what it may mean elsewhere."""
        up = f"../../{self.target}"
        return [
            up,
            f"deep/../../../{self.target}",
            f"./{up}",
            f"deep//../../../{self.target}",
            "..",
            "../../../outside",
            str(self.store.root / self.target),
            f"/{up}",
            f"//{self.store.root / self.target}",
            f"file://{self.store.root / self.target}",
            f"~/{up}",
            f"{up}\0",
            f"mine\0/../{up}",
            up.replace("/", "\\"),
            up.replace("..", "%2e%2e"),
            up.replace("/", "%2f"),
            up.replace("..", "%2e%2e").replace("/", "%2F"),
            up.replace("..", "%252e%252e"),
            up.replace("..", "%c0%ae%c0%ae"),
            up.replace("..", "\N{TWO DOT LEADER}"),
            up.replace("/", "\N{FRACTION SLASH}"),
            f"way/artifacts/{self.target.rpartition('/')[2]}",
            "way/artifacts/new",
            "way",
            "file",
            "file/x",
            f"deep/up/{self.target}",
            "deep/up/new",
            "loop",
            "loop/x",
        ]

    def outside(self) -> dict[str, bytes | str]:
        """All that is not Bob's, as it lies on the disk."""
        data_dir, own = self.store.root.parent, self.store.root / str(self.bob)
        return {
            str(path): path.read_bytes() if path.is_file() else ""
            for path in [
                *(one for one in self.store.root.rglob("*") if not one.is_relative_to(own)),
                *(data_dir / name for name in ("outside", "secret")),
                data_dir.parent / "outside",
            ]
            if path.exists()
        }


async def send(transport: connect.Transport, place: v1.FilePlace, path: str, data: bytes) -> None:
    """Upload a file."""
    files = stubs.FileServiceClient(transport)
    digest = hashlib.sha256(data).digest()
    begun = await files.begin_upload(
        v1.BeginUploadRequest(place=place, path=path, size=len(data), sha256=digest)
    )
    await files.write_upload(v1.WriteUploadRequest(upload_id=begun.upload_id, data=data))
    await files.finish_upload(v1.FinishUploadRequest(upload_id=begun.upload_id))


async def read(files: stubs.FileServiceClient, place: v1.FilePlace, path: str) -> None:
    """Download a file."""
    async with files.download(v1.DownloadRequest(place=place, path=path)) as blocks:
        async for _ in blocks:
            pass


@pytest.fixture
async def folders(running_app: RunningApp) -> AsyncIterator[Folders]:
    workspaces: list[int] = []
    tokens: dict[str, str] = {}
    for name in ("ada", "bob"):
        token = tokens[name] = await running_app.token_of(name)
        async with connect.Transport(running_app.url, token=token) as transport:
            client = stubs.AIAutoServiceClient(transport)
            await client.ensure_workspace(v1.EnsureWorkspaceRequest())
            spec = v1.StudySpec(study_name="study", direction="minimize")
            await client.create_study(v1.CreateStudyRequest(spec=spec))
            for place in PLACES:
                await send(transport, place, "a1a1", SECRET if name == "ada" else MINE)
        principal = await running_app.parts.auth.authenticate(token)
        assert principal.workspace_id
        workspaces.append(principal.workspace_id)
    tokens["worker"] = await worker_of(running_app, workspaces[1])
    del tokens["ada"]
    folders = Folders(running_app, workspaces[0], workspaces[1], tokens)
    before = folders.outside()
    assert sum(content == SECRET for content in before.values()) == 3
    yield folders
    assert folders.outside() == before


async def worker_of(app: RunningApp, workspace_id: int) -> str:
    """Token of a worker that this test is itself: no process takes its trials."""
    from sqlalchemy import select

    from aiauto.server.database.models import Study, TrialBatch

    def unit(session: Any) -> str:
        study = session.scalars(select(Study).where(Study.workspace_id == workspace_id)).one()
        batch = TrialBatch(
            name="study-batch",
            study_id=study.id,
            spec=bytes(v1.TrialBatchSpec(study_name="study", n_trials=1, parallelism=1)),
            n_trials=1,
            parallelism=1,
        )
        session.add(batch)
        session.flush()
        return batch.name

    return (await app.parts.batches.create_worker(await app.parts.database.write(unit))).token


async def test_every_call_with_a_path_is_tried(running_app: RunningApp) -> None:
    methods: list[MethodInfo[Any, Any]] = [
        bound.method
        for service in services.build(running_app.parts)
        for bound in service.__bound_methods__()
    ]
    with_path = {
        method.path.rpartition("/")[2]
        for method in methods
        if PATH_FIELDS & {one.name for one in dataclasses.fields(method.request_type)}
    }
    # The lines of a log are counted from `after`.
    assert with_path - {"StreamLogs"} == PATH_CALLS


@pytest.mark.parametrize("caller", ["bob", "worker"])
async def test_no_path_leads_to_others(folders: Folders, caller: str) -> None:
    tried = 0
    token = folders.tokens[caller]
    async with connect.Transport(folders.app.url, token=token) as transport:
        files = stubs.FileServiceClient(transport)
        cache = stubs.AIAutoServiceClient(transport)
        for path in folders.paths():
            for place in PLACES:
                with pytest.raises(REFUSALS):
                    await read(files, place, path)
                for asked in (
                    v1.ListFilesRequest(place=place, prefix=path),
                    v1.ListFilesRequest(place=place, after=path),
                ):
                    listed = (await files.list_files(asked)).files
                    assert all(one.size == len(MINE) for one in listed), path
                await let(send(transport, place, path, MINE))
                await let(files.delete_file(v1.DeleteFileRequest(place=place, path=path)))
                tried += 5
            if caller == "bob":
                request = v1.DeleteFromSharedCacheRequest(path=path)
                await let(cache.delete_from_shared_cache(request))
                tried += 1
    print(f"{tried} calls with a path that leads out")


async def let(call: Any) -> None:
    """Make a call that may be refused, or do something to the caller's own files."""
    with contextlib.suppress(*REFUSALS):
        await call


async def test_paths_that_json_spells_otherwise(folders: Folders) -> None:
    up = f"../../{folders.target}"
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in up)
    spelled = [escaped, f"{escaped}\\u0000", f"..\\/..\\/{folders.target}", "\\ud800/x", "\\udc2e"]
    headers = {
        "Authorization": f"Bearer {folders.tokens['bob']}",
        "Content-Type": "application/json",
    }
    async with aiohttp.ClientSession(folders.app.url, headers=headers) as session:
        for path in spelled:
            for method, more in (
                ("FileService/DeleteFile", '"place": "FILE_PLACE_ARTIFACTS", '),
                ("FileService/BeginUpload", '"place": "FILE_PLACE_SHARED_CACHE", "size": "1", '),
                ("AIAutoService/DeleteFromSharedCache", ""),
            ):
                body = f'{{{more}"path": "{path}"}}'.encode()
                async with session.post(f"/aiauto.v1.{method}", data=body) as answer:
                    told: dict[str, Any] = json.loads(await answer.text())
                    assert (answer.status, told["code"]) == (400, "invalid_argument"), (path, told)


async def test_pages_lead_nowhere(folders: Folders) -> None:
    ids = folders.target.partition("/")[2].rpartition("/")[2]
    climbs = ["../" * depth for depth in (1, 2, 3, 6)]
    spellings: list[Callable[[str], str]] = [
        lambda path: path,
        lambda path: path.replace("..", "%2e%2e"),
        lambda path: path.replace("/", "%2f"),
        lambda path: path.replace("..", "%2e%2e").replace("/", "%2f"),
        lambda path: path.replace("..", "%252e%252e"),
        lambda path: path.replace("/", "%5c"),
        lambda path: path.replace("..", "..%00"),
    ]
    targets = [
        f"{base}/{spell(climb)}{end}"
        for base in ("/static", "/artifacts/0", "/artifacts/0/0", "/csv", "/dashboard", "")
        for climb in climbs
        for spell in spellings
        for end in ("outside", "secret", folders.target, f"files/{folders.target}")
    ]
    targets += [f"/artifacts/0/{ids}", f"/artifacts/0/0/{ids}", f"/artifacts/1/1/{ids}"]
    signing = (folders.store.root.parent / "secret").read_bytes().strip()
    hidden = (SECRET, base64.b64encode(SECRET), signing)
    for target in targets:
        answer = await raw_get(folders, target)
        assert not any(one in answer for one in hidden), target
        assert b"Traceback" not in answer, target
    print(f"{len(targets)} pages asked for")


async def raw_get(folders: Folders, target: str) -> bytes:
    """Ask for a page by a path that clients would put straight."""
    address = folders.app.url.removeprefix("http://")
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
        f"Authorization: Bearer {folders.tokens['bob']}\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer

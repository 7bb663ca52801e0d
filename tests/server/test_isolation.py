"""Every call and every page, by everybody who has no business there.

The calls are those of the running server: one that is added fails here until it is said what it
names.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from sqlalchemy import update

from aiauto import connect, errors
from aiauto.connect.contract import StreamKind
from aiauto.objective import pack
from aiauto.server import failed_logins, services
from aiauto.server.browsers import PAGE_SERVICES
from aiauto.server.data_dir import DataDir
from aiauto.server.database.models import Token, User, now
from aiauto.server.web.sessions import LoggedIn, Sessions
from tests.server.visitors import OUR_PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import betterproto2
    import optuna

    from aiauto.connect.method import MethodInfo
    from tests.server.conftest import Lab, RunningApp

CONTENT = b"nobody else's"
PATIENCE = 10.0


def sleeping(_trial: optuna.Trial) -> float:
    time.sleep(600)
    return 0.0


@dataclass(frozen=True)
class Things:
    """What somebody has, by the names that calls know it by."""

    study: str
    batch: str
    workspace: str
    user_id: str
    user: str
    token_id: str
    path: str
    artifact: str
    upload_id: str
    lease_id: str

    def hide(self, text: str) -> str:
        """A text without these names."""
        for value in sorted(astuple(self), key=len, reverse=True):
            text = text.replace(value, "?")
        return text


NOTHING = Things(
    study="n0thing-study",
    batch="n0thing-study-00000000",
    workspace="n0thing-workspace",
    user_id="987654321",
    user="n0thing-user",
    token_id="987654322",
    path="n0thing/path",
    artifact="n0thing-artifact",
    upload_id="n0thing-upload",
    lease_id="987654323",
)


def place(things: Things, place: v1.FilePlace) -> dict[str, Any]:
    path = things.path if place == v1.FilePlace.SHARED_CACHE else things.artifact
    return {"place": place, "path": path}


def lease(things: Things) -> v1.LeaseRef:
    return v1.LeaseRef(lease_id=things.lease_id, fence=1)


CACHE, ARTIFACTS = v1.FilePlace.SHARED_CACHE, v1.FilePlace.ARTIFACTS
DIGEST = hashlib.sha256(CONTENT).digest()

# What each call asks for where it is about somebody's things; those that name nothing are about the
# caller's own.
REQUESTS: dict[str, Callable[[Things], betterproto2.Message]] = {
    "AIAutoService/EnsureWorkspace": lambda _: v1.EnsureWorkspaceRequest(),
    "AIAutoService/CreateStudy": lambda things: v1.CreateStudyRequest(
        spec=v1.StudySpec(study_name=things.study, direction="minimize")
    ),
    "AIAutoService/Optimize": lambda things: v1.OptimizeRequest(
        objective=pack(sleeping),
        batch=v1.TrialBatchSpec(study_name=things.study, n_trials=1, parallelism=1),
        request_id="a-request",
    ),
    "AIAutoService/GetStatus": lambda things: v1.GetStatusRequest(
        study_name=things.study, trialbatch_name=things.batch, include_trials=True
    ),
    "AIAutoService/ListSharedCache": lambda _: v1.ListSharedCacheRequest(),
    "AIAutoService/DeleteFromSharedCache": lambda things: v1.DeleteFromSharedCacheRequest(
        path=things.path
    ),
    "AIAutoService/ListGpuFlavors": lambda _: v1.ListGpuFlavorsRequest(),
    "AIAutoService/ListWorkspaces": lambda _: v1.ListWorkspacesRequest(),
    "AIAutoService/ListStudies": lambda _: v1.ListStudiesRequest(),
    "AIAutoService/ListTrialBatches": lambda _: v1.ListTrialBatchesRequest(),
    "AIAutoService/ListPvcsByUserId": lambda things: v1.ListPvcsByUserIdRequest(
        user_id=things.user_id
    ),
    "AIAutoService/ListTrialBatchesByStudy": lambda things: v1.ListTrialBatchesByStudyRequest(
        study_name=things.study
    ),
    "AIAutoService/GetTrialBatch": lambda things: v1.GetTrialBatchRequest(name=things.batch),
    "AIAutoService/GetOptunaWorkspaceStatus": lambda things: v1.GetOptunaWorkspaceStatusRequest(
        workspace_name=things.workspace
    ),
    "AIAutoService/GetWorkspacePvc": lambda things: v1.GetWorkspacePvcRequest(
        workspace_name=things.workspace
    ),
    "AIAutoService/ListTrialBatchPods": lambda things: v1.ListTrialBatchPodsRequest(
        trialbatch_name=things.batch
    ),
    "AIAutoService/DeleteStudy": lambda things: v1.DeleteStudyRequest(name=things.study),
    "AIAutoService/CancelTrialBatch": lambda things: v1.CancelTrialBatchRequest(name=things.batch),
    "AIAutoService/DeleteTrialBatch": lambda things: v1.DeleteTrialBatchRequest(name=things.batch),
    "AIAutoService/DeleteWorkspace": lambda _: v1.DeleteWorkspaceRequest(),
    "AIAutoService/CreateToken": lambda _: v1.CreateTokenRequest(),
    "AIAutoService/DeleteToken": lambda _: v1.DeleteTokenRequest(),
    "AIAutoService/ListTokens": lambda _: v1.ListTokensRequest(),
    "AIAutoService/RevokeToken": lambda things: v1.RevokeTokenRequest(token_id=things.token_id),
    "AIAutoService/RotateToken": lambda _: v1.RotateTokenRequest(),
    "AIAutoService/GetActiveToken": lambda _: v1.GetActiveTokenRequest(),
    "JournalService/AppendEntries": lambda things: v1.AppendEntriesRequest(
        request_id="a-request", lease=lease(things)
    ),
    "JournalService/ReadState": lambda things: v1.ReadStateRequest(study_name=things.study),
    "JournalService/ReadEntries": lambda _: v1.ReadEntriesRequest(),
    "FileService/BeginUpload": lambda things: v1.BeginUploadRequest(
        **place(things, CACHE), size=len(CONTENT), sha256=DIGEST
    ),
    "FileService/WriteUpload": lambda things: v1.WriteUploadRequest(
        upload_id=things.upload_id, offset=0, data=CONTENT
    ),
    "FileService/FinishUpload": lambda things: v1.FinishUploadRequest(upload_id=things.upload_id),
    "FileService/Download": lambda things: v1.DownloadRequest(**place(things, ARTIFACTS)),
    "FileService/ListFiles": lambda things: v1.ListFilesRequest(place=CACHE, prefix=things.path),
    "FileService/DeleteFile": lambda things: v1.DeleteFileRequest(**place(things, CACHE)),
    "RunnerService/RegisterWorker": lambda _: v1.RegisterWorkerRequest(),
    "RunnerService/AcquireLease": lambda _: v1.AcquireLeaseRequest(),
    "RunnerService/Heartbeat": lambda things: v1.HeartbeatRequest(lease=lease(things)),
    "RunnerService/FailLease": lambda things: v1.FailLeaseRequest(
        lease=lease(things), error="no fault of theirs"
    ),
    "RunnerService/FailWorker": lambda _: v1.FailWorkerRequest(error="no fault of theirs"),
    "RunnerService/StopBatch": lambda _: v1.StopBatchRequest(reason="StoppedByObjective"),
    "RunnerService/AppendLogs": lambda _: v1.AppendLogsRequest(request_id="a-request"),
    "ProgressService/WatchTrialBatch": lambda things: v1.WatchTrialBatchRequest(
        trialbatch_name=things.batch
    ),
    "LogService/StreamLogs": lambda things: v1.StreamLogsRequest(trialbatch_name=things.batch),
    "TrialService/ListTrials": lambda things: v1.ListTrialsRequest(study_name=things.study),
    "UserService/CreateUser": lambda things: v1.CreateUserRequest(name=things.user, is_admin=True),
    "UserService/ListUsers": lambda _: v1.ListUsersRequest(),
    "UserService/IssueUserToken": lambda things: v1.IssueUserTokenRequest(name=things.user),
    "UserService/DisableUser": lambda things: v1.DisableUserRequest(name=things.user),
    "UserService/EnableUser": lambda things: v1.EnableUserRequest(name=things.user),
    "UserService/DeleteUser": lambda things: v1.DeleteUserRequest(name=things.user),
    "UserService/LinkIdentity": lambda things: v1.LinkIdentityRequest(
        name=things.user, subject="someone"
    ),
    "UserService/UnlinkIdentity": lambda _: v1.UnlinkIdentityRequest(subject="someone"),
}
ADMINS = "/aiauto.v1.UserService/"


class Caller:
    """Makes any call, with one token."""

    def __init__(self, transport: connect.Transport) -> None:
        self._transport = transport

    async def call(self, method: MethodInfo[Any, Any], things: Things) -> tuple[str, str]:
        """The code of the answer, and what it says without the names of those things."""
        request = REQUESTS[method.path.removeprefix("/aiauto.v1.")](things)
        try:
            if method.kind == StreamKind.UNARY:
                answer = await self._transport.unary(method, request, timeout=PATIENCE)
                return "ok", things.hide(answer.to_json())
            async with self._transport.server_stream(method, request, timeout=PATIENCE) as stream:
                messages = [message.to_json() async for message in stream]
            return "ok", things.hide("".join(messages))
        except errors.RpcError as error:
            return error.code.name, things.hide(error.message)


class House:
    """A server with what Alice has in it."""

    def __init__(self, app: RunningApp, things: Things, worker_token: str) -> None:
        self.app = app
        self.things = things
        self.worker_token = worker_token
        self.methods = [
            bound.method for one in services.build(app.parts) for bound in one.__bound_methods__()
        ]
        self._transports: list[connect.Transport] = []

    def caller(self, token: str | None) -> Caller:
        self._transports.append(
            connect.Transport(self.app.url, token=token, retries=connect.NO_RETRIES)
        )
        return Caller(self._transports[-1])

    async def browser(self, token: str) -> Caller:
        """A page of the server's own, seen by whoever has logged in with a token."""
        principal = await self.app.parts.auth.authenticate(token)
        sessions = Sessions(DataDir(self.app.data_dir).secret())
        cookie = sessions.cookie(LoggedIn(principal.user_id, principal.token_id))
        headers = {"Cookie": f"{sessions.cookie_name}={cookie}", "Sec-Fetch-Site": "same-origin"}
        self._transports.append(
            connect.Transport(
                self.app.url, codec="json", headers=headers, retries=connect.NO_RETRIES
            )
        )
        return Caller(self._transports[-1])

    async def newcomer(self, name: str, *, admin: bool = False) -> str:
        """Token of a user with a workspace in which there is nothing."""
        token = await self.app.token_of(name, admin=admin)
        async with connect.Transport(self.app.url, token=token) as transport:
            client = stubs.AIAutoServiceClient(transport)
            await client.ensure_workspace(v1.EnsureWorkspaceRequest())
        return token

    async def batch_of(self, user: str, *, admin: bool = False) -> str:
        """A batch of another user."""
        token = await self.newcomer(user, admin=admin)
        async with connect.Transport(self.app.url, token=token) as transport:
            return await begin_batch(transport, f"study-of-{user}")

    async def worker_of(self, batch: str) -> str:
        """Token of a worker of a batch."""
        return (await self.app.parts.batches.create_worker(batch)).token

    async def close(self) -> None:
        for transport in self._transports:
            await transport.close()


async def begin_batch(transport: connect.Transport, study: str) -> str:
    client = stubs.AIAutoServiceClient(transport)
    await client.create_study(
        v1.CreateStudyRequest(spec=v1.StudySpec(study_name=study, direction="minimize"))
    )
    request = REQUESTS["AIAutoService/Optimize"](replace(NOTHING, study=study))
    assert isinstance(request, v1.OptimizeRequest)
    assert request.batch
    request.batch.n_trials = 3
    return (await client.optimize(request)).trialbatch_name


@pytest.fixture
async def house(running_app: RunningApp, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    # So many tokens that are not valid are tried here: nobody has to wait.
    monkeypatch.setattr(failed_logins, "LONGEST_PAUSE_SECONDS", 0.0)
    token = await running_app.token_of("alice")
    async with connect.Transport(running_app.url, token=token) as transport:
        client = stubs.AIAutoServiceClient(transport)
        files = stubs.FileServiceClient(transport)
        made = await client.ensure_workspace(v1.EnsureWorkspaceRequest())
        batch = await begin_batch(transport, "secret-study")
        ids: list[str] = []
        for where, path, finish in (
            (CACHE, "secret/path", True),
            (ARTIFACTS, "secret-artifact", True),
            (CACHE, "secret/unfinished", False),
        ):
            upload = await files.begin_upload(
                v1.BeginUploadRequest(place=where, path=path, size=len(CONTENT), sha256=DIGEST)
            )
            ids.append(upload.upload_id)
            if finish:
                part = v1.WriteUploadRequest(upload_id=upload.upload_id, data=CONTENT)
                await files.write_upload(part)
                await files.finish_upload(v1.FinishUploadRequest(upload_id=upload.upload_id))
        (own,) = (await client.list_tokens(v1.ListTokensRequest())).tokens
        ticket = await running_app.parts.batches.create_worker(batch)
        async with connect.Transport(running_app.url, token=ticket.token) as of_worker:
            runner = stubs.RunnerServiceClient(of_worker)
            await runner.register_worker(v1.RegisterWorkerRequest())
            held = (await runner.acquire_lease(v1.AcquireLeaseRequest())).lease
        assert held
        user_id = str((await running_app.parts.auth.authenticate(token)).user_id)
        things = Things(
            study="secret-study",
            batch=batch,
            workspace=made.workspace_name,
            user_id=user_id,
            user="alice",
            token_id=own.id,
            path="secret/path",
            artifact="secret-artifact",
            upload_id=ids[-1],
            lease_id=held.lease_id,
        )
        house = House(running_app, things, ticket.token)
        before = await possessions(transport)
        yield house
        assert await possessions(transport) == before
        await house.close()


async def possessions(transport: connect.Transport) -> list[str]:
    """What Alice has, as far as nobody but others could have changed it."""
    client = stubs.AIAutoServiceClient(transport)
    files = stubs.FileServiceClient(transport)
    batches = (await client.list_trial_batches(v1.ListTrialBatchesRequest())).trial_batches
    found = [
        *(one.study_name for one in (await client.list_studies(v1.ListStudiesRequest())).studies),
        *(one.name for one in batches),
        *(one.id for one in (await client.list_tokens(v1.ListTokensRequest())).tokens),
    ]
    status = await client.get_status(v1.GetStatusRequest(study_name="secret-study"))
    found += [
        f"{one.count_failed} failed of {one.count_total}" for one in status.trialbatches.values()
    ]
    for where in (CACHE, ARTIFACTS):
        listed = await files.list_files(v1.ListFilesRequest(place=where))
        found += [f"{file.path}: {file.size}" for file in listed.files]
    return found


async def test_every_call_is_known_here(house: House) -> None:
    assert {method.path.removeprefix("/aiauto.v1.") for method in house.methods} == set(REQUESTS)


async def test_nobody_without_a_valid_token(house: House) -> None:
    expired, revoked = await house.newcomer("carol"), await house.newcomer("dave")
    disabled = await house.newcomer("eve", admin=True)
    ended = house.worker_token
    past = now() - timedelta(seconds=1)

    def end(session: Any) -> None:
        session.execute(update(Token).values(expires_at=past).where(Token.hash == digest(expired)))
        session.execute(update(Token).values(hash="revoked").where(Token.hash == digest(revoked)))
        session.execute(update(Token).values(expires_at=past).where(Token.hash == digest(ended)))
        session.execute(update(User).values(disabled=True).where(User.name == "eve"))

    await house.app.parts.database.write(end)
    house.app.parts.auth.forget()
    refusals: set[tuple[str, str]] = set()
    for token in ("garbage", f"{expired[:-1]}", expired, revoked, disabled, ended):
        caller = house.caller(token)
        for method in house.methods:
            code, message = await caller.call(method, house.things)
            assert code == "UNAUTHENTICATED", (method.path, token)
            refusals.add((code, message))
    stranger = house.caller(None)
    for method in house.methods:
        code, message = await stranger.call(method, house.things)
        assert (code, "no token" in message) == ("UNAUTHENTICATED", True), method.path
    # In the same words for all: nothing is learnt about what was tried.
    assert len(refusals) == 1


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize("admin", [False, True])
async def test_another_user_finds_nothing(house: House, admin: bool) -> None:  # noqa: FBT001
    methods = [one for one in house.methods if not (admin and one.path.startswith(ADMINS))]
    for number, method in enumerate(methods):
        # Each call by somebody new, since some are about the caller's own token and workspace.
        answers: list[tuple[str, str]] = []
        for things in (house.things, NOTHING):
            name = f"user{number}{'' if things is NOTHING else 'x'}"
            caller = house.caller(await house.newcomer(name, admin=admin))
            code, text = await caller.call(method, things)
            assert "secret" not in text, method.path
            assert base64.b64encode(CONTENT).decode() not in text, method.path
            answers.append((code, told(method, text)))
        assert answers[0] == answers[1], method.path


async def test_a_browser_of_another_user_finds_nothing(house: House) -> None:
    for number, method in enumerate(house.methods):
        answers: list[tuple[str, str]] = []
        for things in (house.things, NOTHING):
            name = f"user{number}{'' if things is NOTHING else 'x'}"
            browser = await house.browser(await house.newcomer(name))
            code, text = await browser.call(method, things)
            assert "secret" not in text, method.path
            assert base64.b64encode(CONTENT).decode() not in text, method.path
            of_pages = method.path.split("/")[1] in PAGE_SERVICES
            assert (code != "UNAUTHENTICATED") == of_pages, method.path
            answers.append((code, told(method, text)))
        assert answers[0] == answers[1], method.path


async def test_who_is_no_admin_learns_of_no_user(house: House) -> None:
    methods = [one for one in house.methods if one.path.startswith(ADMINS)]
    assert len(methods) == 8
    caller = house.caller(await house.newcomer("frank"))
    answers = [
        await caller.call(method, things)
        for method in methods
        for things in (house.things, NOTHING)
    ]
    assert set(answers) == {("PERMISSION_DENIED", "Only admins may call this.")}


@pytest.mark.parametrize("admin", [False, True])
async def test_a_worker_of_another_user_finds_nothing(house: House, admin: bool) -> None:  # noqa: FBT001
    batch = await house.batch_of("bob", admin=admin)
    # After these calls there is nothing left to do for the workers of a batch.
    last = {"FailWorker", "StopBatch"}
    methods = sorted(house.methods, key=lambda method: method.path.rpartition("/")[2] in last)
    for method in methods:
        if method.path.rpartition("/")[2] in last:
            batch = await house.batch_of(method.path.rpartition("/")[2])
        is_users = not method.path.startswith(
            tuple(f"/aiauto.v1.{name}" for name in ("Runner", "Journal", "File"))
        )
        answers: list[tuple[str, str]] = []
        token = await house.worker_of(batch)
        for things in (house.things, NOTHING):
            code, text = await house.caller(token).call(method, things)
            assert "secret" not in text, method.path
            assert base64.b64encode(CONTENT).decode() not in text, method.path
            assert (code == "PERMISSION_DENIED") == is_users, method.path
            answers.append((code, told(method, text)))
        assert answers[0] == answers[1], method.path


def told(method: MethodInfo[Any, Any], text: str) -> str:
    """What an answer says; nothing of one that is about the caller's own, and never the same."""
    own = (
        "EnsureWorkspace",
        "ListWorkspaces",
        "ListTokens",
        "CreateToken",
        "RotateToken",
        "GetActiveToken",
        "BeginUpload",
        "Optimize",
        "CreateStudy",
        "AcquireLease",
        "RegisterWorker",
        "ReadEntries",
    )
    return "" if method.path.endswith(own) else text


async def test_a_worker_of_another_batch_has_no_part_in_this_one(house: House) -> None:
    token = await house.app.token_of("alice")
    async with connect.Transport(house.app.url, token=token) as transport:
        batch = await begin_batch(transport, "study-beside")
        worker = await house.worker_of(batch)
        for method in house.methods:
            if method.path.endswith(("Heartbeat", "FailLease", "AppendEntries")):
                theirs = await house.caller(worker).call(method, house.things)
                nothing = await house.caller(worker).call(method, NOTHING)
                assert theirs == nothing, method.path
        client = stubs.AIAutoServiceClient(transport)
        await client.delete_study(v1.DeleteStudyRequest(name="study-beside"))
        for one in (await client.list_tokens(v1.ListTokensRequest())).tokens:
            if one.id != house.things.token_id:
                await client.revoke_token(v1.RevokeTokenRequest(token_id=one.id))
                break


OPEN = {"/healthz", "/login", "/logout", "/readyz", "/assets/{digest}/{path}"}
# Where an issuer says who people are.
OPENID = {"/login/openid", "/login/openid/callback"}


async def test_pages_of_who_logs_in_by_an_issuer(lab: Lab) -> None:
    def paths(app: RunningApp) -> set[str]:
        routes = app.app.router.routes()
        return {one.resource.canonical for one in routes if one.resource is not None}

    assert paths(lab.app) >= OPENID
    # Whatever else there is, is what there is everywhere.
    visitor = lab.visitor()
    for path in OPENID:
        for headers in ({}, {"Authorization": "Bearer garbage"}, {"Cookie": "aiauto=garbage"}):
            async with visitor.http.get(path, headers=headers, allow_redirects=False) as answer:
                assert answer.status == (303 if path == "/login/openid" else 400)
                assert visitor.session_cookie not in answer.cookies
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            async with visitor.http.request(method, path) as answer:
                assert answer.status == 405
    await visitor.log_in()
    # No admin by any means: users are managed by those who hold a token.
    path = "/aiauto.v1.UserService/ListUsers"
    async with visitor.http.post(path, json={}, headers=OUR_PAGE) as answer:
        assert answer.status == 401


async def test_pages(house: House) -> None:
    async def pages(**headers: str) -> dict[str, tuple[int, str]]:
        found: dict[str, tuple[int, str]] = {}
        async with aiohttp.ClientSession(house.app.url, headers=headers) as session:
            for path in sorted(paths):
                filled = path.format(
                    rest="studies", study_id="0", digest="0", path="app.js", name="any"
                )
                async with session.get(filled, allow_redirects=False) as answer:
                    found[path] = answer.status, await answer.text(errors="replace")
        return found

    paths = {
        route.resource.canonical
        for route in house.app.app.router.routes()
        if route.resource is not None and not route.resource.canonical.startswith("/aiauto.v1")
    }
    assert paths >= OPEN
    assert not paths & OPENID
    for headers in ({}, {"Authorization": "Bearer garbage"}, {"Cookie": "aiauto=garbage"}):
        for path, (status, text) in (await pages(**headers)).items():
            assert path in OPEN or status in {401, 403}, (path, headers)
            assert "secret" not in text, (path, headers)
    bearer = {"Authorization": f"Bearer {await house.newcomer('erin')}"}
    for path, (status, text) in (await pages(**bearer)).items():
        assert status < 500, path
        assert "secret" not in text, path
    worker = {"Authorization": f"Bearer {house.worker_token}"}
    for path, (status, text) in (await pages(**worker)).items():
        assert path in OPEN or status in {401, 403}, path
        assert "secret" not in text, path

"""A server with what somebody has in it, and every call about it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.connect.contract import StreamKind
from aiauto.objective import pack
from aiauto.server import services
from aiauto.server.data_dir import DataDir
from aiauto.server.web.sessions import LoggedIn, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    import betterproto2
    import optuna

    from aiauto.connect.method import MethodInfo
    from tests.server.conftest import RunningApp

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
    "EnrollmentService/EnrollWorker": lambda things: v1.EnrollWorkerRequest(
        pod_name=f"{things.batch}-0-abcde"
    ),
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

    async def cookie(self, token: str) -> str:
        """The session of whoever has logged in with a token, by its name."""
        principal = await self.app.parts.auth.authenticate(token)
        sessions = Sessions(DataDir(self.app.data_dir).secret())
        cookie = sessions.cookie(LoggedIn(principal.user_id, principal.token_id))
        return f"{sessions.cookie_name}={cookie}"

    async def browser(self, token: str) -> Caller:
        """A page of the server's own, seen by whoever has logged in with a token."""
        headers = {"Cookie": await self.cookie(token), "Sec-Fetch-Site": "same-origin"}
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


def digest(token: str) -> str:
    """What the server keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()

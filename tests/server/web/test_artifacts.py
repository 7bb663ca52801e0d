"""Artifacts in the dashboard of the whole server, each user with their own."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClient

from aiauto import connect, errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from optuna.storages import BaseStorage

    from aiauto.server.web.artifacts import WorkspaceArtifacts
    from tests.server.conftest import RunningApp

OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
ID = "0f0e0d0c-0000-4000-8000-000000000000"


class User:
    """A user with a study of one running trial, which claims to have an artifact."""

    def __init__(self, app: RunningApp, name: str) -> None:
        self._app = app
        self._name = name
        self.session: aiohttp.ClientSession
        self.service: AIAutoServiceClient
        self.storage: BaseStorage
        self.artifacts: WorkspaceArtifacts
        self.study_id = self.trial_id = -1

    async def begin(self) -> None:
        token = await self._app.token_of(self._name)
        self.session = aiohttp.ClientSession(
            self._app.url, headers={"Authorization": f"Bearer {token}", **OWN_PAGE}
        )
        self._transport = connect.Transport(self._app.url, token=token)
        self.service = AIAutoServiceClient(self._transport)
        await self.service.ensure_workspace(v1.EnsureWorkspaceRequest(artifact_store_size="1Mi"))
        spec = v1.StudySpec(study_name="study", direction="minimize")
        await self.service.create_study(v1.CreateStudyRequest(spec=spec))
        parts = self._app.parts
        workspace_id = (await parts.auth.authenticate(token)).workspace_id
        assert workspace_id is not None
        self.storage = parts.journal.storage(workspace_id)
        from aiauto.server.web.artifacts import DashboardArtifacts

        self.artifacts = DashboardArtifacts(parts.database, parts.files).of(workspace_id)
        await asyncio.to_thread(self._fill)

    def _fill(self) -> None:
        self.study_id = self.storage.get_study_id_from_name("study")
        self.trial_id = self.storage.create_new_trial(self.study_id)
        meta = {"artifact_id": ID, "filename": "x.html", "mimetype": "text/html", "encoding": None}
        self.storage.set_trial_system_attr(self.trial_id, f"artifacts:{ID}", json.dumps(meta))

    async def end(self) -> None:
        await self.session.close()
        await self._transport.close()

    async def get(self, path: str) -> tuple[int, bytes, Any]:
        async with self.session.get(path) as answer:
            return answer.status, await answer.read(), answer.headers

    @property
    def path(self) -> str:
        return f"/artifacts/{self.study_id}/{self.trial_id}/{ID}"


@pytest.fixture
async def users(running_app: RunningApp) -> AsyncIterator[tuple[User, User]]:
    users = User(running_app, "ada"), User(running_app, "bob")
    for user in users:
        await user.begin()
    yield users
    for user in users:
        await user.end()


async def test_an_artifact_is_shown_to_its_user_only(users: tuple[User, User]) -> None:
    ada, bob = users
    store = ada.artifacts
    await asyncio.to_thread(store.write, ID, io.BytesIO(b"<script>alert(1)</script>"))
    status, body, headers = await ada.get(ada.path)
    assert (status, body) == (200, b"<script>alert(1)</script>")
    # It may be a page of anything: it is not to act as one of this server's.
    assert headers["Content-Security-Policy"] == "sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    # Bob's trial claims the same artifact, and has none.
    assert ada.path == bob.path
    status, body, _ = await bob.get(bob.path)
    assert status == 404
    assert b"only those of the best" in body
    for path in ("/artifacts/0/0/..%2f..%2fx", "/artifacts/0/0/%2e%2e", "/artifacts/0/0/"):
        assert (await ada.get(path))[0] == 404


async def test_an_upload_in_the_dashboard_counts(users: tuple[User, User]) -> None:
    ada, _ = users

    async def upload(content: bytes) -> tuple[int, Any]:
        data = base64.b64encode(content).decode()
        body = {"file": f"data:text/plain;base64,{data}", "filename": "notes.txt"}
        path = f"/api/artifacts/{ada.study_id}/{ada.trial_id}"
        async with ada.session.post(path, json=body) as answer:
            return answer.status, await answer.text()

    status, text = await upload(b"noted")
    assert status == 201, text
    artifact_id = json.loads(text)["artifact_id"]
    path = f"/artifacts/{ada.study_id}/{ada.trial_id}/{artifact_id}"
    assert (await ada.get(path))[:2] == (200, b"noted")
    with pytest.raises(errors.ResourceExhaustedError, match="artifact_store_size"):
        await asyncio.to_thread(ada.artifacts.write, "big", io.BytesIO(bytes(1024 * 1024)))
    async with ada.session.delete(f"/api{path}") as answer:
        assert answer.status == 204
    assert (await ada.get(path))[0] == 404


async def test_a_study_that_is_deleted_there(users: tuple[User, User]) -> None:
    ada, _ = users
    await asyncio.to_thread(ada.artifacts.write, ID, io.BytesIO(b"x"))
    # One that is gone already does not matter.
    meta = {"artifact_id": "gone", "filename": "x", "mimetype": "x", "encoding": None}
    await asyncio.to_thread(
        ada.storage.set_trial_system_attr, ada.trial_id, "artifacts:gone", json.dumps(meta)
    )
    async with ada.session.delete(f"/api/studies/{ada.study_id}") as answer:
        assert answer.status == 204, await answer.text()
    with pytest.raises(Exception, match="404") as gone:
        await asyncio.to_thread(ada.artifacts.open_reader, ID)
    assert type(gone.value).__name__ == "HTTPError"

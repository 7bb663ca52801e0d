"""What Alice has, and has still when all have tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect
from aiauto.server import failed_logins
from tests.server.isolation.house import (
    ARTIFACTS,
    CACHE,
    CONTENT,
    DIGEST,
    House,
    Things,
    begin_batch,
    possessions,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.server.conftest import RunningApp


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

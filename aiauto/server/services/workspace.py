"""Workspaces: one a user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from sqlalchemy import select

from aiauto.errors import InvalidArgumentError, NotFoundError
from aiauto.server.database.models import Workspace
from aiauto.server.files.limits import limit_of
from aiauto.server.limits import told
from aiauto.server.messages import condition, rfc3339
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import workspace_of
from aiauto.server.services.removal import remove_workspace
from aiauto.version import __version__

if TYPE_CHECKING:
    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

SIZE = re.compile(r"(\d+(?:\.\d+)?)(Mi|Gi)")
DEFAULT_STORAGE_SIZE, MAX_STORAGE_GIB = "500Mi", 10
DEFAULT_ARTIFACT_STORE_SIZE = "2Gi"
DEFAULT_SHARED_CACHE_SIZE = "500Mi"
DEFAULT_SHARED_CACHE_DIR = "/mnt/shared-cache"
MAX_PATH_LENGTH = 1024
ARTIFACTS, SHARED_CACHE = v1.FilePlace.ARTIFACTS, v1.FilePlace.SHARED_CACHE


class WorkspaceCalls(Calls):
    """The calls about workspaces."""

    async def ensure_workspace(
        self, request: v1.EnsureWorkspaceRequest, context: Context
    ) -> v1.EnsureWorkspaceResponse:
        """Make the caller's workspace, or open it."""
        del context
        user_id, limits = self._user_id, self._parts.limits
        workspace = Workspace(
            user_id=user_id,
            name=f"workspace-{user_id}",
            storage_size=_size(
                "storage_size", request.storage_size, DEFAULT_STORAGE_SIZE, MAX_STORAGE_GIB
            ),
            artifact_store_size=_size(
                "artifact_store_size",
                request.artifact_store_size,
                DEFAULT_ARTIFACT_STORE_SIZE,
                limits.max_artifact_store_gib,
                "max_artifact_store_gib",
            ),
            shared_cache_dir=_folder(request.shared_cache_dir or DEFAULT_SHARED_CACHE_DIR),
            shared_cache_size=_size(
                "shared_cache_size",
                request.shared_cache_size,
                DEFAULT_SHARED_CACHE_SIZE,
                limits.max_shared_cache_gib,
                "max_shared_cache_gib",
            ),
        )

        def find(session: Session) -> str | None:
            return session.scalar(select(Workspace.name).where(Workspace.user_id == user_id))

        def make(session: Session) -> str:
            if (name := find(session)) is not None:
                return name
            session.add(workspace)
            session.flush()
            return workspace.name

        # Nearly always it is there, and nothing needs to be written.
        name = await self._parts.database.read(find)
        if name is None:
            name = await self._parts.database.write(make)
            self._parts.auth.forget()
        links = self._parts.links
        return v1.EnsureWorkspaceResponse(
            journal_grpc_storage_proxy_host_external=links.base_url,
            journal_grpc_storage_proxy_host_internal=links.worker_url,
            dashboard_url=links.dashboard_url(user_id),
            artifact_store_url=links.base_url,
            workspace_name=name,
            server_version=__version__,
        )

    async def list_workspaces(
        self, request: v1.ListWorkspacesRequest, context: Context
    ) -> v1.ListWorkspacesResponse:
        """List the caller's workspaces: none or one."""
        del request, context
        user_id = self._user_id
        workspace = await self._parts.database.read(
            lambda session: session.scalar(select(Workspace).where(Workspace.user_id == user_id))
        )
        if workspace is None:
            return v1.ListWorkspacesResponse()
        info = self._info(workspace)
        files = self._parts.files
        count = files.store.count_bytes
        info.artifact_store_used = await files.call(count, workspace.id, ARTIFACTS)
        info.shared_cache_used = await files.call(count, workspace.id, SHARED_CACHE)
        return v1.ListWorkspacesResponse(workspaces=[info])

    async def get_optuna_workspace_status(
        self, request: v1.GetOptunaWorkspaceStatusRequest, context: Context
    ) -> v1.GetOptunaWorkspaceStatusResponse:
        """Tell how the caller's workspace is doing."""
        del context
        info = self._info(await self._named(request.workspace_name))
        return v1.GetOptunaWorkspaceStatusResponse(
            phase=info.phase,
            conditions=info.conditions,
            file_upload_url=info.file_upload_url,
            journal_url=info.journal_url,
            dashboard_url=info.dashboard_url,
        )

    async def get_workspace_pvc(
        self, request: v1.GetWorkspacePvcRequest, context: Context
    ) -> v1.GetWorkspacePvcResponse:
        """Tell about the volume of a workspace: this server keeps none on a volume."""
        del context
        workspace = await self._named(request.workspace_name)
        raise NotFoundError(
            f"The workspace {workspace.name!r} has no persistent volume: this server keeps its "
            "data in its own database and folder."
        )

    async def list_pvcs_by_user_id(
        self, request: v1.ListPvcsByUserIdRequest, context: Context
    ) -> v1.ListPvcsByUserIdResponse:
        """List the caller's volumes: this server has none."""
        del context
        if request.user_id not in {"", str(self._user_id)}:
            raise NotFoundError("user_id: you may ask only for your own volumes.")
        return v1.ListPvcsByUserIdResponse()

    async def delete_workspace(
        self, request: v1.DeleteWorkspaceRequest, context: Context
    ) -> v1.DeleteWorkspaceResponse:
        """Delete the caller's workspace with all that is in it."""
        del request, context
        await remove_workspace(self._parts, self._user_id, "The workspace was deleted.")
        return v1.DeleteWorkspaceResponse()

    async def _named(self, name: str) -> Workspace:
        user_id = self._user_id
        workspace = await self._parts.database.read(lambda session: workspace_of(session, user_id))
        if name not in {"", workspace.name}:
            raise NotFoundError(f"workspace_name: there is no workspace {name[:100]!r}.")
        return workspace

    def _info(self, workspace: Workspace) -> v1.WorkspaceInfo:
        kind = v1.WorkspaceCondition
        links = self._parts.links
        return v1.WorkspaceInfo(
            name=workspace.name,
            user_id=str(workspace.user_id),
            creation_timestamp=rfc3339(workspace.created_at),
            storage_size=workspace.storage_size,
            artifact_store_size=workspace.artifact_store_size,
            shared_cache_size=workspace.shared_cache_size,
            phase="Running",
            conditions=[
                condition(
                    one, "WORKSPACE", holds=True, reason="Serving", since=workspace.created_at
                )
                for one in (
                    kind.READY,
                    kind.AVAILABLE,
                    kind.STORAGE_READY,
                    kind.DASHBOARD_READY,
                )
            ],
            journal_url=links.base_url,
            dashboard_url=links.dashboard_url(workspace.user_id),
            artifact_store_limit=limit_of(workspace, ARTIFACTS).size,
            shared_cache_limit=limit_of(workspace, SHARED_CACHE).size,
            journal_length=workspace.journal_length,
            shared_cache_dir=workspace.shared_cache_dir,
        )


def _size(name: str, given: str | None, default: str, most_gib: int, limit: str = "") -> str:
    """Check a size.

    Args:
        name: What it is called.
        given: What was asked for.
        default: What is meant where nothing was, as far as that is allowed.
        most_gib: How many GiB are allowed.
        limit: Name of the limit that says so; empty where that can't be set.

    Raises:
        InvalidArgumentError: It is no size, or too large a one.
    """
    size = given or default
    match = SIZE.fullmatch(size)
    if match is None:
        raise InvalidArgumentError(
            f"{name} is {size[:50]!r}: write a number and Mi or Gi, for example {default!r}."
        )
    gib = float(match[1]) / (1024 if match[2] == "Mi" else 1)
    if gib > most_gib and not given:
        return f"{most_gib}Gi"
    if not 0 < gib <= most_gib:
        who = f"; {told(limit, most_gib)}" if limit else ""
        raise InvalidArgumentError(
            f"{name} is {size[:50]}: it must be more than 0, at most {most_gib}Gi{who}."
        )
    return size


def _folder(path: str) -> str:
    if not path.startswith("/") or "\0" in path or len(path) > MAX_PATH_LENGTH:
        raise InvalidArgumentError(
            f"shared_cache_dir is {path[:100]!r}: it must be an absolute path."
        )
    return path

"""The artifacts of a workspace, as Optuna's dashboard wants them."""

from __future__ import annotations

import hashlib
import importlib
from typing import TYPE_CHECKING, Any

from aiauto_gen.aiauto import v1

from aiauto.errors import NotFoundError
from aiauto.server.database.models import Workspace
from aiauto.server.files.limits import limit_of
from aiauto.server.files.uploads import MAX_PART_BYTES

if TYPE_CHECKING:
    from typing import BinaryIO

    from aiauto.server.database import Database
    from aiauto.server.files import Files

PLACE = v1.FilePlace.ARTIFACTS


class DashboardArtifacts:
    """The artifacts of all workspaces."""

    def __init__(self, database: Database, files: Files) -> None:
        """Make it.

        Args:
            database: Knows how much a workspace may keep.
            files: Where they are.
        """
        self._database = database
        self._files = files

    def of(self, workspace_id: int) -> WorkspaceArtifacts:
        """Those of one workspace."""
        return WorkspaceArtifacts(workspace_id, self._database, self._files)


class WorkspaceArtifacts:
    """An Optuna artifact store (`optuna.artifacts`) for the dashboard's own threads."""

    def __init__(self, workspace_id: int, database: Database, files: Files) -> None:
        """Use `DashboardArtifacts.of`."""
        self._workspace_id = workspace_id
        self._database = database
        self._files = files

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact. One that is gone is answered with 404, and not, as Optuna's, with 500.

        Args:
            artifact_id: It.
        """
        try:
            return self._files.store.open(self._workspace_id, PLACE, artifact_id).file
        except NotFoundError as error:
            # What the dashboard is made of; it has no types.
            bottle: Any = importlib.import_module("bottle")
            message = "This artifact is gone: only those of the best trials are kept."
            raise bottle.HTTPError(404, message) from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep what somebody has uploaded in the dashboard.

        Args:
            artifact_id: Its new id.
            content_body: It, no bigger than a page's request may be.

        Raises:
            ResourceExhaustedError: The workspace may not keep that much.
        """
        workspace = self._database.read_now(
            lambda session: session.get_one(Workspace, self._workspace_id)
        )
        data = content_body.read()
        request = v1.BeginUploadRequest(
            place=PLACE, path=artifact_id, size=len(data), sha256=hashlib.sha256(data).digest()
        )
        uploads = self._files.uploads
        upload = uploads.begin(self._workspace_id, request, limit_of(workspace, PLACE))
        for offset in range(upload.offset, len(data), MAX_PART_BYTES):
            part = v1.WriteUploadRequest(
                upload_id=upload.upload_id,
                offset=offset,
                data=data[offset : offset + MAX_PART_BYTES],
            )
            uploads.write(self._workspace_id, part)
        uploads.finish(self._workspace_id, upload.upload_id)

    def remove(self, artifact_id: str) -> None:
        """Delete an artifact. One that is gone must not keep a study from being deleted.

        Args:
            artifact_id: It.
        """
        self._files.store.delete(self._workspace_id, PLACE, artifact_id)

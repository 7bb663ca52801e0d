"""FileService: artifacts and the shared cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import FileServiceBase

from aiauto.errors import AbortedError, InvalidArgumentError, OutOfRangeError, PermissionDeniedError
from aiauto.server.auth import current_principal
from aiauto.server.files.limits import limit_of
from aiauto.server.files.paths import MAX_PATH_BYTES
from aiauto.server.messages import rfc3339
from aiauto.server.services.calls import Calls
from aiauto.server.services.ownership import workspace_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto_gen.connect import Context

MAX_LISTED = 10_000
# How much of a file travels in one message.
BLOCK_BYTES = 512 * 1024


class FileService(Calls, FileServiceBase):
    """Takes and gives the files of the caller's workspace, or of that of the worker's batch."""

    async def begin_upload(
        self, request: v1.BeginUploadRequest, context: Context
    ) -> v1.BeginUploadResponse:
        """Begin an upload, or find the one that broke off."""
        del context
        user_id = self._user_id
        workspace = await self._parts.database.read(lambda session: workspace_of(session, user_id))
        worker = current_principal().worker
        by_trial = worker if request.place == v1.FilePlace.ARTIFACTS else None
        files = self._parts.files
        begun = await files.call(
            files.uploads.begin,
            workspace.id,
            request,
            limit_of(workspace, request.place),
            # Trials that have ended keep what they had.
            replace=by_trial is None,
        )
        if by_trial is not None:
            # Before it can be whole, and only where it is not somebody else's.
            await files.orphans.note(workspace.id, by_trial, request.path)
        return begun

    async def write_upload(
        self, request: v1.WriteUploadRequest, context: Context
    ) -> v1.WriteUploadResponse:
        """Take a part."""
        del context
        files = self._parts.files
        offset = await files.call(files.uploads.write, self._workspace_id, request)
        return v1.WriteUploadResponse(offset=offset)

    async def finish_upload(
        self, request: v1.FinishUploadRequest, context: Context
    ) -> v1.FinishUploadResponse:
        """Put a file in its place."""
        del context
        files = self._parts.files
        await files.call(files.uploads.finish, self._workspace_id, request.upload_id)
        return v1.FinishUploadResponse()

    async def download(
        self, request: v1.DownloadRequest, context: Context
    ) -> AsyncIterator[v1.DownloadResponse]:
        """Stream a file."""
        del context
        files = self._parts.files
        opened = await files.call(files.store.open, self._workspace_id, request.place, request.path)
        with opened.file as file:
            if request.version not in {"", opened.version}:
                raise AbortedError(
                    f"path: {request.path[:200]!r} is another file by now: begin anew."
                )
            if not 0 <= request.offset <= opened.size:
                raise OutOfRangeError(
                    f"offset is {request.offset}, and the file has {opened.size} bytes."
                )
            yield v1.DownloadResponse(size=opened.size, version=opened.version)
            file.seek(request.offset)
            # A worker may just be writing more of it.
            left = opened.size - request.offset
            while left and (block := await files.call(file.read, min(left, BLOCK_BYTES))):
                left -= len(block)
                yield v1.DownloadResponse(data=block)

    async def list_files(
        self, request: v1.ListFilesRequest, context: Context
    ) -> v1.ListFilesResponse:
        """List files by their path."""
        del context
        for name, text in (("prefix", request.prefix), ("after", request.after)):
            if len(text) > MAX_PATH_BYTES:
                raise InvalidArgumentError(f"{name} has more than {MAX_PATH_BYTES} characters.")
        files = self._parts.files
        found, more = await files.call(
            files.store.entries,
            self._workspace_id,
            request.place,
            prefix=request.prefix,
            after=request.after,
            limit=MAX_LISTED,
        )
        return v1.ListFilesResponse(
            files=[
                v1.FileInfo(path=one.path, size=one.size, modified=rfc3339(one.modified))
                for one in found
            ],
            more=more,
        )

    async def delete_file(
        self, request: v1.DeleteFileRequest, context: Context
    ) -> v1.DeleteFileResponse:
        """Delete a file or a folder."""
        del context
        if _by_worker() and request.place == v1.FilePlace.ARTIFACTS:
            raise PermissionDeniedError("A worker's token does not allow to delete artifacts.")
        files = self._parts.files
        found = await files.call(
            files.store.delete, self._workspace_id, request.place, request.path
        )
        return v1.DeleteFileResponse(found=found)


def _by_worker() -> bool:
    return current_principal().worker is not None

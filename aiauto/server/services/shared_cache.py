"""The shared cache, in the words of the hosted service; FileService can do more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.server.messages import rfc3339
from aiauto.server.services.calls import Calls
from aiauto.server.services.file import MAX_LISTED

if TYPE_CHECKING:
    from aiauto_gen.connect import Context

CACHE = v1.FilePlace.SHARED_CACHE


class SharedCacheCalls(Calls):
    """The calls about the shared cache."""

    async def list_shared_cache(
        self, request: v1.ListSharedCacheRequest, context: Context
    ) -> v1.ListSharedCacheResponse:
        """List the files in the caller's shared cache."""
        del request, context
        files = self._parts.files
        found, _ = await files.call(
            files.store.entries, self._workspace_id, CACHE, limit=MAX_LISTED
        )
        listed = [
            {"name": one.path, "size": one.size, "modified": rfc3339(one.modified)} for one in found
        ]
        return v1.ListSharedCacheResponse(json_response=json.dumps({"files": listed}))

    async def delete_from_shared_cache(
        self, request: v1.DeleteFromSharedCacheRequest, context: Context
    ) -> v1.DeleteFromSharedCacheResponse:
        """Delete a file or folder. What is not there is deleted already."""
        del context
        files = self._parts.files
        await files.call(files.store.delete, self._workspace_id, CACHE, request.path)
        return v1.DeleteFromSharedCacheResponse(json_response=json.dumps({"deleted": request.path}))

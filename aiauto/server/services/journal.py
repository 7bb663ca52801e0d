"""JournalService: the Optuna state of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import JournalServiceBase

from aiauto.errors import PermissionDeniedError
from aiauto.server.auth import current_principal, current_token_id
from aiauto.server.services.calls import Calls, check_request_id
from aiauto.server.services.runner import acquired_lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

    from aiauto.server.batches.appending import Appended
    from aiauto.server.journal.journal import Slice


def append_response(appended: Appended, lease_ttl: float) -> v1.AppendEntriesResponse:
    """What came of appending, as it is told to the caller."""
    acquired = appended.acquired
    return v1.AppendEntriesResponse(
        entries=appended.new.entries,
        length=appended.new.length,
        next=None if acquired is None else acquired_lease(acquired, lease_ttl),
        next_begun=acquired is not None and acquired.begun,
        own_position=appended.own_position,
    )


class JournalService(Calls, JournalServiceBase):
    """Appends to and reads from the caller's journal."""

    async def append_entries(
        self, request: v1.AppendEntriesRequest, context: Context
    ) -> v1.AppendEntriesResponse:
        """Append entries, and answer with what is new to the caller."""
        del context
        principal = current_principal()
        check_request_id(request.request_id)
        if principal.worker is None and request.lease is not None:
            raise PermissionDeniedError("lease: only workers append under a lease.")
        if principal.worker is None and (request.acquire_next or request.begin_next):
            name = "acquire_next" if request.acquire_next else "begin_next"
            raise PermissionDeniedError(f"{name}: only workers have leases.")
        self._parts.append_rate.take(
            current_token_id(), len(request.entries) + bool(request.begin_next)
        )
        batches = self._parts.batches
        appended = await batches.work.append(self._workspace_id, request, principal.worker)
        return append_response(appended, batches.lease_ttl)

    async def read_state(
        self, request: v1.ReadStateRequest, context: Context
    ) -> AsyncIterator[v1.ReadStateResponse]:
        """Stream a shorter journal."""
        del context
        snapshot = await self._parts.snapshots.read(self._workspace_id, request.study_name)
        for chunk in snapshot.chunks():
            yield v1.ReadStateResponse(entries=chunk, position=snapshot.position)

    async def read_entries(
        self, request: v1.ReadEntriesRequest, context: Context
    ) -> v1.ReadEntriesResponse:
        """Answer with the entries from a position on."""
        del context
        workspace_id = self._workspace_id

        def unit(session: Session) -> Slice:
            return self._parts.journal.read(session, workspace_id, request.position)

        new = await self._parts.database.read(unit)
        return v1.ReadEntriesResponse(entries=new.entries, length=new.length)

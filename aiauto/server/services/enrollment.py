"""EnrollmentService: what Pods call to become workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import EnrollmentServiceBase

from aiauto.server.auth import current_enrollment
from aiauto.server.services.calls import Calls

if TYPE_CHECKING:
    from aiauto_gen.connect import Context


class EnrollmentService(Calls, EnrollmentServiceBase):
    """Makes Pods workers."""

    async def enroll_worker(
        self, request: v1.EnrollWorkerRequest, context: Context
    ) -> v1.EnrollWorkerResponse:
        """Make a Pod a worker of its batch."""
        del context
        enrollment = self._parts.batches.enrollment
        token = await enrollment.enroll(current_enrollment(), request.pod_name, request.gpu_share)
        # A token of the Pod that is void now may have been looked up a moment ago.
        self._parts.auth.forget()
        return v1.EnrollWorkerResponse(token=token)

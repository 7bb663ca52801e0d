"""What there is for workers to run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.server.services.calls import Calls

if TYPE_CHECKING:
    from aiauto_gen.connect import Context


class MachineCalls(Calls):
    """The calls about machines."""

    async def list_gpu_flavors(
        self, request: v1.ListGpuFlavorsRequest, context: Context
    ) -> v1.ListGpuFlavorsResponse:
        """List the kinds of GPU that workers can have."""
        del request, context
        flavors = await self._parts.executor.gpu_flavors()
        return v1.ListGpuFlavorsResponse(gpu_flavors=list(flavors))

"""What the machine that workers run on has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.server.services.calls import Calls

if TYPE_CHECKING:
    from aiauto_gen.connect import Context


class MachineCalls(Calls):
    """The calls about the machine."""

    async def list_gpu_flavors(
        self, request: v1.ListGpuFlavorsRequest, context: Context
    ) -> v1.ListGpuFlavorsResponse:
        """List the kinds of GPU of this machine, as its driver names them."""
        del request, context
        models = {gpu.model for gpu in await self._parts.executor.gpus.look()}
        return v1.ListGpuFlavorsResponse(
            gpu_flavors=[v1.GpuFlavorInfo(name=model) for model in sorted(models)]
        )

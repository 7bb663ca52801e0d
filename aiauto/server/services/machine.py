"""What the machine that workers run on has."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.server.services.calls import Calls

if TYPE_CHECKING:
    from aiauto_gen.connect import Context

QUERY_TIMEOUT_SECONDS = 10


class MachineCalls(Calls):
    """The calls about the machine."""

    async def list_gpu_flavors(
        self, request: v1.ListGpuFlavorsRequest, context: Context
    ) -> v1.ListGpuFlavorsResponse:
        """List the kinds of GPU of this machine, as its driver names them."""
        del request, context
        names = sorted(set(await _gpu_names()))
        return v1.ListGpuFlavorsResponse(gpu_flavors=[v1.GpuFlavorInfo(name=one) for one in names])


async def _gpu_names() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    process = await asyncio.create_subprocess_exec(
        program,
        "--query-gpu=name",
        "--format=csv,noheader",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), QUERY_TIMEOUT_SECONDS)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        return []
    if process.returncode != 0:  # a driver without a device
        return []
    # `gpu_model` takes names in the manner of Kubernetes labels.
    lines = output.decode(errors="replace").splitlines()
    return ["-".join(line.lower().split()) for line in lines if line.strip()]

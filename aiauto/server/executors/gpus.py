"""The GPUs of this machine: found by NVIDIA's own program, and shared out to workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiauto import config
from aiauto.errors import FailedPreconditionError
from aiauto.gpu_models import is_meant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiauto.server.batches import GpuNeeds

VISIBLE_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
ORDER_VARIABLE: Final = "CUDA_DEVICE_ORDER"
# Without it CUDA counts from the fastest GPU on, and not as `nvidia-smi` does.
ORDER: Final = "PCI_BUS_ID"
QUERY_TIMEOUT_SECONDS = 10
# A slice of a GPU: whoever made it names it, and `--query-gpu` does not list it.
MIG_PREFIX = "MIG-"


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        device: What ``CUDA_VISIBLE_DEVICES`` calls it: its number, or the id of a MIG slice.
        name: What its driver calls it, for example ``NVIDIA H100 80GB HBM3``.
    """

    device: str
    name: str

    @property
    def model(self) -> str:
        """Its name as `gpu_model` takes it, in the manner of Kubernetes labels."""
        return "-".join(self.name.lower().split())

    def is_of(self, model: str) -> bool:
        """Whether `gpu_model` means it."""
        return is_meant(model, self.model)


class Gpus:
    """Who has which GPU. A worker keeps its own until it ends."""

    def __init__(self) -> None:
        self._gpus: tuple[Gpu, ...] = ()
        self._held: set[str] = set()
        self._freed = asyncio.Event()

    async def look(self) -> tuple[Gpu, ...]:
        """Look what is there; ``CUDA_VISIBLE_DEVICES`` of the server itself counts."""
        installed = await _installed()
        if installed is not None:
            self._gpus = tuple(_visible(installed, os.environ.get(VISIBLE_VARIABLE)))
        return self._gpus

    def hold(self, devices: Iterable[str]) -> None:
        """Note what a worker has that an earlier server started."""
        self._held.update(devices)

    def take(self, needs: GpuNeeds, share: str) -> tuple[Gpu, ...] | None:
        """Give a worker its GPUs.

        Args:
            needs: What its batch needs.
            share: The model whose trials it runs; empty for any.

        Returns:
            The GPUs; None where too few are free.
        """
        free = [gpu for gpu in self._fitting(share) if gpu.device not in self._held]
        if len(free) < needs.per_worker:
            return None
        # What runs anywhere leaves alone what others must have, as far as it can.
        free.sort(key=lambda gpu: any(gpu.is_of(model) for model in needs.shares if model != share))
        taken = tuple(free[: needs.per_worker])
        self.hold(gpu.device for gpu in taken)
        return taken

    def give_back(self, devices: Iterable[str]) -> None:
        """Take back what a worker had, if anything."""
        returned = self._held & set(devices)
        if returned:
            self._held -= returned
            # Everybody who waits looks again, and whoever comes later waits for the next time.
            self._freed.set()
            self._freed = asyncio.Event()

    @property
    def freed(self) -> asyncio.Event:
        """Set when a worker next gives some back."""
        return self._freed

    def refusal(self, needs: GpuNeeds | None) -> str:
        """Why a batch can never have the GPUs that it needs; empty where it can.

        Args:
            needs: What each of its workers needs; None for no GPU.
        """
        if needs is None:
            return ""
        asked = f"every worker needs {_counted(needs.per_worker)} (use_gpu"
        asked += ", resources_requests['nvidia.com/gpu'])" if needs.per_worker > 1 else ")"
        for model in needs.shares:
            if len(self._fitting(model)) >= needs.per_worker:
                continue
            there = f"gpu_model {model}: " if model else ""
            if not self._gpus:
                visible = os.environ.get(VISIBLE_VARIABLE)
                cause = (
                    "nvidia-smi lists none"
                    if visible is None
                    else f"the server was started with {VISIBLE_VARIABLE}={visible!r}"
                )
                return (
                    f"{there}this server has no GPUs ({cause}), and {asked}. Leave use_gpu out to "
                    "run on the CPU, or use a server on a machine with GPUs."
                )
            names = ", ".join(f"{gpu.device}: {gpu.name}" for gpu in self._gpus)
            return (
                f"{there}this server has {_counted(len(self._fitting(model)))}"
                f"{' of that model' if model else ''}, and {asked}. Its GPUs are {names}. Ask for "
                "fewer or others, or use a server on a machine that has them."
            )
        return ""

    def check(self, needs: GpuNeeds | None) -> None:
        """Refuse what can never run.

        Raises:
            FailedPreconditionError: There are too few GPUs, whoever has them now.
        """
        if problem := self.refusal(needs):
            raise FailedPreconditionError(problem)

    def shortage(self, needs: GpuNeeds) -> str:
        """What a batch waits for that could do with more GPUs than are free, in a sentence."""
        held = len([gpu for gpu in self._gpus if gpu.device in self._held])
        return (
            f"Waits for GPUs: each of its workers needs {_counted(needs.per_worker)}, and {held} "
            f"of the {len(self._gpus)} of this server are taken. More workers start as they get "
            "free."
        )

    def _fitting(self, model: str) -> list[Gpu]:
        return [gpu for gpu in self._gpus if not model or gpu.is_of(model)]


def environment(gpus: Sequence[Gpu]) -> dict[str, str]:
    """What a worker must find in its environment to see its own GPUs and no other.

    Args:
        gpus: Its GPUs; none for a worker that is to see none.
    """
    variables = {
        VISIBLE_VARIABLE: ",".join(gpu.device for gpu in gpus),
        ORDER_VARIABLE: ORDER,
    }
    if gpus:
        variables[config.GPU_NAME_VARIABLE] = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
    return variables


def _counted(number: int) -> str:
    return f"{number} GPU" if number == 1 else f"{number or 'no'} GPUs"


async def _installed() -> list[tuple[Gpu, str]] | None:
    """The GPUs that the driver lists, each with its UUID; None where it gives no answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    process = await asyncio.create_subprocess_exec(
        program,
        "--query-gpu=index,uuid,name",
        "--format=csv,noheader",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), QUERY_TIMEOUT_SECONDS)
    except asyncio.TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return None
    if process.returncode != 0:
        return None
    rows = [line.split(",", 2) for line in output.decode(errors="replace").splitlines()]
    # A GPU that has failed is listed with an error in place of its number.
    return [
        (Gpu(index.strip(), name.strip()), uuid.strip())
        for index, uuid, name in (row for row in rows if len(row) == 3)
        if index.strip().isdecimal()
    ]


def _visible(installed: Sequence[tuple[Gpu, str]], visible: str | None) -> list[Gpu]:
    """Those of the GPUs that ``CUDA_VISIBLE_DEVICES`` names, read as CUDA reads it."""
    if visible is None:
        return [gpu for gpu, _ in installed]
    chosen: list[Gpu] = []
    for token in map(str.strip, visible.split(",")):
        if token.startswith(MIG_PREFIX):
            found: Gpu | None = Gpu(token, "NVIDIA MIG device")
        else:
            # A UUID may be cut short as long as it is the only one that begins so.
            fits = [
                gpu
                for gpu, uuid in installed
                if token == gpu.device or (token.startswith("GPU-") and uuid.startswith(token))
            ]
            found = fits[0] if len(fits) == 1 else None
        if found is None or found in chosen:
            break  # CUDA, too, heeds none that stand behind one that is not there
        chosen.append(found)
    return chosen

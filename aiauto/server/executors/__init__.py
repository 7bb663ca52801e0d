"""Where batches run: an executor starts the workers of a batch and keeps them running.

What a worker is differs (`local`: a process of this machine; `kubernetes`: a Pod), what it does is
the same: it leases trials by RunnerService until the batch is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.aiauto import v1

    from aiauto.server.batches import GpuNeeds

__all__ = ["Executor"]


class Executor(Protocol):
    """Starts the workers of batches, replaces those that die, and stops them."""

    async def start(self) -> None:
        """Begin work: take over or restart the workers of every unfinished batch.

        Called once, when the server accepts calls.
        """
        ...

    async def check(self, needs: GpuNeeds | None) -> None:
        """Refuse a batch that can never run here.

        Args:
            needs: What its workers need of GPUs; None for none.

        Raises:
            FailedPreconditionError: There are too few of them in all.
        """
        ...

    async def gpu_flavors(self) -> Sequence[v1.GpuFlavorInfo]:
        """The kinds of GPU that workers can have."""
        ...

    async def launch(self, batch_name: str, credentials: str | None = None) -> None:
        """Start workers for a new batch; for one that has them, see that they can start.

        Args:
            batch_name: Name of the batch, which the database knows.
            credentials: By which its image is pulled, as a Docker `config.json`.
        """
        ...

    async def cancel(self, batch_name: str) -> None:
        """Stop the workers of a batch and remove what they left. Returns when they are gone.

        Args:
            batch_name: Name of the batch; one without workers is fine.
        """
        ...

    async def close(self) -> None:
        """End, and stop the workers that can't live without this server.

        Batches that are not over go on at the next `start`.
        """
        ...

    def kill(self) -> None:
        """The same at once, without a word to anybody."""
        ...

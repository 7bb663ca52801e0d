"""Where batches run: an executor starts the workers of a batch and keeps them running.

What a worker is differs (`local`: a process of this machine), what it does is the same: it leases
trials by RunnerService until the batch is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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

    async def launch(self, batch_name: str) -> None:
        """Start workers for a new batch. Returns at once.

        Args:
            batch_name: Name of the batch, which the database knows.
        """
        ...

    async def cancel(self, batch_name: str) -> None:
        """Stop the workers of a batch and remove what they left. Returns when they are gone.

        Args:
            batch_name: Name of the batch; one without workers is fine.
        """
        ...

    async def close(self) -> None:
        """Stop all workers and end. Batches that are not over go on at the next `start`."""
        ...

"""Workers as processes of the machine that the server runs on."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.server.executors.children import Interpreters
from aiauto.server.executors.crew import Crew
from aiauto.server.executors.forks import CAN_FORK, Forks
from aiauto.server.executors.gpus import Gpus
from aiauto.server.executors.machine import Machine
from aiauto.server.executors.memory import Memory
from aiauto.server.wholeness import to_the_end

if TYPE_CHECKING:
    from pathlib import Path

    from aiauto.server.batches import Batches, GpuNeeds
    from aiauto.server.executors.children import Starter
    from aiauto.server.files.store import Store

LOGGER = logging.getLogger(__name__)


class LocalExecutor:
    """Runs `parallelism` processes a batch and replaces those that die while trials remain.

    Workers survive a server that is killed: they wait for the next one, which takes them over.

    Attributes:
        gpus: The GPUs of this machine.
    """

    def __init__(
        self,
        batches: Batches,
        store: Store,
        *,
        folder: Path,
        base_url: str,
        grace: float,
        fork: bool = True,
    ) -> None:
        """Make an executor.

        Args:
            batches: The state of all batches.
            store: Where the shared caches are.
            folder: Where workers run, in a folder for each batch.
            base_url: Address of the server, for workers.
            grace: Seconds that a worker has to end when it is asked to.
            fork: Whether workers are forked from a process that has imported what they need, where
                the system can do that.
        """
        self._batches = batches
        self._folder = folder
        self._base_url = base_url
        self._grace = grace
        self.gpus: Gpus = Gpus()
        # Python looks for modules where a program starts: none are there. No batch is named so.
        forks_folder = folder / ".forks"
        starter: Starter = Forks(forks_folder) if fork and CAN_FORK else Interpreters()
        self._machine = Machine(store, self.gpus, Memory(), starter)
        self._crews: dict[str, Crew] = {}
        self._closing = False

    async def start(self) -> None:
        """Take over the workers of unfinished batches, and replace those that are gone.

        The workers of a batch that is over are seen off.
        """
        unfinished = await self._batches.unfinished()
        if any(batch.gpus for batch in unfinished):
            await self.gpus.look()
        names = [batch.name for batch in unfinished]
        names += await self._batches.with_workers_left()
        for name in names:
            for worker in await self._batches.live_workers(name):
                await self._crew(name).adopt(worker)
        # Only now is it known which GPUs are free.
        for name in names:
            self._crew(name).begin()

    async def check(self, needs: GpuNeeds | None) -> None:
        """Refuse a batch that can never run here."""
        if needs is not None:
            await self.gpus.look()
            self.gpus.check(needs)

    async def gpu_flavors(self) -> list[v1.GpuFlavorInfo]:
        """The kinds of GPU of this machine, as its driver names them."""
        models = {gpu.model for gpu in await self.gpus.look()}
        return [v1.GpuFlavorInfo(name=model) for model in sorted(models)]

    async def launch(self, batch_name: str, credentials: str | None = None) -> None:
        """Start workers for a new batch. Returns at once."""
        del credentials  # no process of this machine has an image
        if not self._closing:
            self._crew(batch_name).begin()

    async def cancel(self, batch_name: str) -> None:
        """Stop the workers of a batch and remove their folders. Returns when they are gone."""
        await to_the_end(self._cancel(batch_name))

    async def _cancel(self, batch_name: str) -> None:
        crew = self._crew(batch_name)
        await crew.stop("Canceled", "The batch was ended before this worker was done.")
        await asyncio.to_thread(shutil.rmtree, crew.folder, ignore_errors=True)
        self._crews.pop(batch_name, None)

    async def close(self) -> None:
        """Stop all workers. Batches that are not over go on when the server starts again."""
        self._closing = True
        message = "The server was stopped while this trial ran."
        stopping = [crew.stop("ServerStopped", message) for crew in self._crews.values()]
        for outcome in await asyncio.gather(*stopping, return_exceptions=True):
            if outcome is not None:
                # They have ended all the same: the next server finds that out.
                LOGGER.warning("The end of workers could not be noted: %s", outcome)
        await self._machine.starter.close()

    def kill(self) -> None:
        """End all workers at once, without a word to anybody."""
        self._closing = True
        for crew in self._crews.values():
            crew.kill()

    def _crew(self, batch_name: str) -> Crew:
        crew = self._crews.get(batch_name)
        if crew is None:
            # The name of the batch becomes the name of a folder, which may be removed.
            folder = self._folder / batch_name
            if folder.parent != self._folder or folder.name in {"", ".", ".."}:
                message = f"{batch_name!r} can't be the name of a batch"
                raise ValueError(message)
            crew = self._crews[batch_name] = Crew(
                batch_name,
                self._batches,
                self._machine,
                folder=folder,
                base_url=self._base_url,
                grace=self._grace,
            )
        return crew

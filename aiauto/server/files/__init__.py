"""The files of all workspaces: artifacts, shared caches, and what is on its way there."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import ParamSpec, TypeVar

from aiauto.server.files.orphans import Orphans
from aiauto.server.files.retention import Retention
from aiauto.server.files.store import Store
from aiauto.server.files.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiauto.server.database import Database
    from aiauto.server.journal import Journal

__all__ = ["Files"]

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

logger: logging.Logger = logging.getLogger("aiauto.server")

# Disks take few at once well, and calls that need no disk have threads of their own.
THREADS = 8
SWEEP_SECONDS = 3600.0


class Files:
    """What keeps files, and the threads in which it waits for the disk.

    Attributes:
        store: Where they are.
        uploads: What is on its way.
        retention: Which artifacts are kept.
        orphans: Artifacts that no trial came to tell of.
    """

    def __init__(self, root: Path, database: Database, journal: Journal) -> None:
        """Make it.

        Args:
            root: Folder for all of them. It need not exist.
            database: Where batches are kept.
            journal: The journals that their trials live in.
        """
        self.store: Store = Store(root)
        self.uploads: Uploads = Uploads(self.store)
        self.retention: Retention = Retention(database, journal, self.store)
        self.orphans: Orphans = Orphans(database, journal, self.store)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aiauto-files")

    async def call(
        self, function: Callable[P, ResultT], /, *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        """Call what waits for the disk, off the event loop."""
        work = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def run(self) -> None:
        """Keep order for as long as the server runs."""
        await asyncio.gather(self.retention.run(), self.orphans.run(), self._sweep())

    def close(self) -> None:
        """End the threads. What they are at is done to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _sweep(self) -> None:
        while True:
            try:
                await self.call(self.store.empty_trash)
                await self.call(self.uploads.sweep)
            except OSError:
                # The disk may be away for a while, say.
                logger.exception("Old uploads could not be swept away")
            await asyncio.sleep(SWEEP_SECONDS)

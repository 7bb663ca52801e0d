"""Clients that watch a batch: `python -m bench.scale.watchers URL TOKEN BATCH COUNT`.

Each has a connection of its own. Prints how many messages they got, once all have seen the end.
"""

from __future__ import annotations

import asyncio
import sys

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import ProgressServiceClient

from aiauto.connect import Transport


async def main(url: str, token: str, batch: str, count: str) -> None:
    """Watches, and tells."""

    async def watch() -> int:
        async with Transport(url, token=token) as transport:
            progress = ProgressServiceClient(transport)
            request = v1.WatchTrialBatchRequest(trialbatch_name=batch)
            return len([message async for message in progress.watch_trial_batch(request)])

    messages = await asyncio.gather(*(watch() for _ in range(int(count))))
    sys.stdout.write(f"{sum(messages)}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""What the server looks at again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import NoReturn

logger: logging.Logger = logging.getLogger("aiauto.server")


async def regularly(look: Callable[[], Awaitable[None]], seconds: float, trouble: str) -> NoReturn:
    """Look at something at once, and then again for as long as the server runs.

    Args:
        look: Does so. What it raises is logged, and it is called again all the same: the database
            or the disk may be away for a while.
        seconds: Pause between two looks.
        trouble: What could not be done where it raises, for the log.
    """
    while True:
        try:
            await look()
        except Exception:
            logger.exception(trouble)
        await asyncio.sleep(seconds)

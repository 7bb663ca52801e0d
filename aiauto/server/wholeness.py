"""Doing something whole, even where whoever asked for it gives up in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

ResultT = TypeVar("ResultT")

# The event loop itself does not keep what nobody waits for.
_begun: set[asyncio.Task[Any]] = set()


def begin(work: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
    """Begin something that goes on whether or not anybody waits for it.

    Args:
        work: What to do.

    Returns:
        It, to be waited for behind `asyncio.shield`.
    """
    task = asyncio.create_task(work)
    _begun.add(task)
    task.add_done_callback(_begun.discard)
    return task


async def to_the_end(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Do something that must not be left half done.

    A client that goes away, or whose time is up, cancels the call that it made; what is done here
    goes on all the same.

    Args:
        work: What to do.

    Returns:
        What comes of it, for those who are still there.
    """
    return await asyncio.shield(begin(work))

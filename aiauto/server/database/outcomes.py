"""What came of units of work, told to the coroutines and threads that wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from sqlalchemy.orm import Session

    AnyFuture: TypeAlias = "asyncio.Future[Any] | Future[Any]"


@dataclass(frozen=True)
class Unit:
    """A unit of work that somebody waits for.

    Attributes:
        work: What it does.
        future: Who waits: a coroutine, on its own event loop, or a thread.
    """

    work: Callable[[Session], Any]
    future: AnyFuture


@dataclass(frozen=True)
class Outcome:
    """What came of a unit.

    Attributes:
        unit: Which.
        result: What it returned.
        error: What it raised instead.
    """

    unit: Unit
    result: object = None
    error: Exception | None = None


def tell(outcomes: Iterable[Outcome]) -> None:
    """Tell everybody, each event loop at once: to wake it is a system call."""
    on_loops: dict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome.unit.future, asyncio.Future):
            on_loops[outcome.unit.future.get_loop()].append(outcome)
        else:
            _settle(outcome)
    for loop, some in on_loops.items():
        with contextlib.suppress(RuntimeError):  # it is closed, and nobody waits there any more
            loop.call_soon_threadsafe(_settle_all, some)


def _settle_all(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        _settle(outcome)


def _settle(outcome: Outcome) -> None:
    future = outcome.unit.future
    if future.done():  # whoever waited has given up
        return
    if outcome.error is None:
        future.set_result(outcome.result)
    elif isinstance(outcome.error, StopIteration):
        # No future takes one: whoever waits would do so for ever, and the others with them.
        wrapped = RuntimeError("a unit of work raised StopIteration")
        wrapped.__cause__ = outcome.error
        future.set_exception(wrapped)
    else:
        future.set_exception(outcome.error)

"""Coroutines that never wait run to their end like functions, wherever they are called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aiauto.calls import finish, iterate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def give(value: int) -> int:
    return value


async def fail(error: BaseException) -> None:
    raise error


class Counter:
    """Counts, and knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def up_to(self, end: int) -> AsyncGenerator[int | None, None]:
        try:
            for number in range(end):
                yield number or None
        finally:
            self.closed = True


def test_a_coroutine_is_finished() -> None:
    assert finish(give(3)) == 3
    for error in (ValueError("mine"), KeyboardInterrupt(), SystemExit(2)):
        with pytest.raises(type(error)) as caught:
            finish(fail(error))
        assert caught.value is error


async def test_in_a_running_loop_too() -> None:
    assert finish(give(3)) == 3
    assert list(iterate(Counter().up_to(2))) == [None, 1]


def test_one_that_waits_is_refused() -> None:
    with pytest.raises(RuntimeError, match="waited for an event loop"):
        finish(asyncio.sleep(0))


def test_every_item_comes() -> None:
    counter = Counter()
    # What is false ends nothing.
    assert list(iterate(counter.up_to(3))) == [None, 1, 2]
    assert counter.closed


def test_leaving_early_closes() -> None:
    counter = Counter()
    items = iterate(counter.up_to(3))
    next(items)
    assert not counter.closed
    items.close()
    assert counter.closed

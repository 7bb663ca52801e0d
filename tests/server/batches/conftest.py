"""Batches on each kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.batches.house import House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """A batch of three trials, each of which is run once."""
    house = House(database_url, n_trials=3)
    await house.open()
    await house.fill()
    yield house
    await house.database.close()


@pytest.fixture
async def patient(database_url: str) -> AsyncIterator[House]:
    """A batch of two trials that may be run again, and may not take for ever."""
    house = House(database_url, n_trials=2, max_retries=2, trial_timeout=200.0)
    await house.open()
    await house.fill()
    yield house
    await house.database.close()

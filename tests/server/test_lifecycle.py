"""When a server that nobody uses stops by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aiauto.errors import UnavailableError
from aiauto.server import lifecycle

if TYPE_CHECKING:
    from tests.server.conftest import RunningApp

pytestmark = pytest.mark.once


async def test_it_stays_while_it_is_not_known_whether_it_is_needed(
    running_app: RunningApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    async def unfinished() -> list[object]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise UnavailableError("the database is away")
        return []

    monkeypatch.setattr(running_app.parts.batches, "unfinished", unfinished)
    stop = asyncio.Event()
    await lifecycle._until_told_or_idle(stop, 0.01, running_app.parts)
    assert stop.is_set()
    assert asked == 3
    assert "the database is away" in caplog.text

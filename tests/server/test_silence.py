"""Streams of which nothing is to be told, on a way that cuts what is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect
from aiauto.server.services import log, progress, silence
from tests.proxy import ImpatientProxy
from tests.server.conftest import serving
from tests.server.people import Person

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.once

PATIENCE = 3.0


async def test_a_silent_stream_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LONGEST_SECONDS", PATIENCE / 30)
    for service in (progress, log):
        monkeypatch.setattr(service, "LONGEST_INTERVAL_SECONDS", PATIENCE / 30)
    async with serving(tmp_path / "data") as app:
        # Nobody runs the batch: nothing changes, and nothing is printed.
        app.start_no_workers()
        person = Person(app, await app.token_of("alice"))
        batch = await person.begin("study")
        await person.transport.close()
        with ImpatientProxy(app.url, PATIENCE) as proxy:
            async with connect.Transport(
                proxy.url, token=person.token, retries=connect.NO_RETRIES
            ) as way:
                watching = stubs.ProgressServiceClient(way).watch_trial_batch(
                    v1.WatchTrialBatchRequest(trialbatch_name=batch)
                )
                async with watching as stream:
                    told = [await anext(stream) for _ in range(4)]
                assert told[0].status
                assert told == 4 * [told[0]]
                logs = stubs.LogServiceClient(way).stream_logs(
                    v1.StreamLogsRequest(trialbatch_name=batch, follow=True)
                )
                async with logs as lines:
                    assert [await anext(lines) for _ in range(4)] == 4 * [v1.StreamLogsResponse()]

"""What is printed last, while the server has little time."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import RunnerServiceBase
from aiohttp import web

from aiauto import connect
from aiauto.runner import printed

if TYPE_CHECKING:
    from aiauto_gen.connect import Context

pytestmark = pytest.mark.once

N_LINES = 2 * printed.LINES_PER_CALL + 1
# Longer than a worker has that is told to stop; for three calls shorter than what others have.
SECONDS_A_CALL = 2.0

WORKER = f"""
import sys
from aiauto_gen.aiauto.v1.connect import RunnerServiceClientSync
from aiauto.connect import SyncTransport
from aiauto.runner.printed import Printed

with SyncTransport(sys.argv[1]) as transport:
    lines = Printed(RunnerServiceClientSync(transport))
    lines.start()
    for number in range({N_LINES}):
        print(number)
    lines.close(float(sys.argv[2]))
"""


class Busy(RunnerServiceBase):
    """A server that takes its time."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def append_logs(
        self, request: v1.AppendLogsRequest, context: Context
    ) -> v1.AppendLogsResponse:
        del context
        await asyncio.sleep(SECONDS_A_CALL)
        self.texts += [line.text for line in request.lines]
        return v1.AppendLogsResponse()


@pytest.mark.parametrize("patience", [printed.LAST_CALL_SECONDS, printed.LAST_LINES_SECONDS])
async def test_what_is_left_is_sent_as_long_as_nobody_waits(patience: float) -> None:
    busy, app = Busy(), web.Application()
    connect.add_services(app, [busy])
    runner = connect.app_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, url, str(patience), stdout=asyncio.subprocess.DEVNULL
        )
        assert await worker.wait() == 0
    finally:
        await runner.cleanup()
    everything = [str(number) for number in range(N_LINES)]
    if patience == printed.LAST_LINES_SECONDS:
        assert busy.texts == everything
    else:
        assert busy.texts == everything[: len(busy.texts)] != everything

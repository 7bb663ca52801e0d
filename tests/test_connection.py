"""The way to a server that somebody else runs, and that is away for a while."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceBase
from aiohttp import web

import aiauto
from aiauto import config, connect
from aiauto.connect import channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import optuna
    from aiauto_gen.connect import Context

    from aiauto.testing import EmbeddedServer
    from tests.proxy import CuttingProxy


class ComingBack(logging.Handler):
    """Lets the server come back once a call has warned that it is away.

    Attributes:
        told: The warnings.
    """

    def __init__(self, proxy: CuttingProxy) -> None:
        super().__init__()
        self.told: list[str] = []
        self._proxy = proxy

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())
        self._proxy.cut()


@pytest.fixture
def coming_back(proxy: CuttingProxy) -> Iterator[ComingBack]:
    handler = ComingBack(proxy)
    logging.getLogger("aiauto.connect").addHandler(handler)
    yield handler
    logging.getLogger("aiauto.connect").removeHandler(handler)


def draw(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


CALLS: dict[str, Callable[[aiauto.AIAutoController, aiauto.StudyWrapper], object]] = {
    "create_study": lambda ac, study: ac.create_study(f"{study.study_name}-too"),
    "get_status": lambda _, study: study.get_status(),
    "get_status_async": lambda _, study: asyncio.run(study.get_status_async()),
    "optimize": lambda _, study: study.optimize(draw, 1, 1, wait_option="WAIT_NO"),
    "ask and tell": lambda _, study: study.get_study().tell(study.get_study().ask(), 1.0),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_server_that_comes_back_is_waited_for(
    server: EmbeddedServer,
    proxy: CuttingProxy,
    coming_back: ComingBack,
    study_name: str,
    name: str,
) -> None:
    controller = aiauto.AIAutoController(server.token, proxy.url)
    study = controller.create_study(study_name)
    assert study.trials == []
    proxy.cut(refuse=True)
    CALLS[name](controller, study)
    (told,) = coming_back.told
    assert told.startswith("Trying again for up to 30 s: ")
    assert proxy.url in told


def test_the_first_look_at_a_study_waits_too(
    server: EmbeddedServer, proxy: CuttingProxy, coming_back: ComingBack, study_name: str
) -> None:
    """It reads a stream, which by itself is not waited for."""
    study = aiauto.AIAutoController(server.token, proxy.url).create_study(study_name)
    study.optimize(draw, 1, 1, wait_option="WAIT_ALL_TRIALS")
    proxy.cut(refuse=True)
    assert len(study.trials) == 1
    assert len(coming_back.told) == 1


def test_one_that_does_not_come_back_is_not_waited_for_without_end(
    server: EmbeddedServer,
    proxy: CuttingProxy,
    study_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "CALL_PATIENCE", 0.1)
    study = aiauto.AIAutoController(server.token, proxy.url).create_study(study_name)
    proxy.cut(refuse=True)
    with pytest.raises(aiauto.UnavailableError):
        study.get_status()


def test_a_trial_is_waited_for_longer_than_a_call(
    server: EmbeddedServer,
    proxy: CuttingProxy,
    study_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "CALL_PATIENCE", 0.0)
    study = aiauto.AIAutoController(server.token, proxy.url).create_study(study_name)
    study.optimize(draw, 1, 1, wait_option="WAIT_ALL_TRIALS")
    proxy.cut(refuse=True)
    before = proxy.connections

    def come_back() -> None:
        # When a call has given up, and another one has begun.
        while proxy.connections < before + 8:
            time.sleep(0.05)
        proxy.cut()

    coming_back = threading.Thread(target=come_back)
    coming_back.start()
    try:
        assert study.wait(0, timeout=60)
    finally:
        proxy.connections += 8  # whatever happened, the thread ends
        coming_back.join()


class Cluster(AIAutoServiceBase):
    """A server that takes a while to make a workspace.

    Attributes:
        url: Its address.
        asked: How often it was asked for the workspace.
    """

    def __init__(self, times: int) -> None:
        self.url = ""
        self.asked = 0
        self._times = times

    async def ensure_workspace(
        self, request: v1.EnsureWorkspaceRequest, context: Context
    ) -> v1.EnsureWorkspaceResponse:
        del request, context
        self.asked += 1
        if self.asked <= self._times:
            raise connect.UnavailableError("the workspace is being made")
        return v1.EnsureWorkspaceResponse(dashboard_url=f"{self.url}/dashboard")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One that says more often that it is not ready than a call is repeated."""
    cluster = Cluster(times=8)
    app = web.Application()
    connect.add_services(app, [cluster])
    runner = connect.app_runner(app, shutdown_timeout=0.1)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    cluster.url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    # An earlier server of this process may have answered at the same port.
    channel._answered.discard(cluster.url)
    yield cluster
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_workspace_that_is_being_made_is_waited_for(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    ac = aiauto.AIAutoController("a-token", cluster.url)
    assert ac.dashboard_url == f"{cluster.url}/dashboard"
    assert cluster.asked == 9
    assert caplog.messages == ["Waiting for the workspace: the workspace is being made"]


def test_a_workspace_that_is_never_made(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "WORKSPACE_PATIENCE", 0.0)
    with pytest.raises(aiauto.UnavailableError, match="the workspace is being made"):
        aiauto.AIAutoController("a-token", cluster.url)
    assert cluster.asked == 6

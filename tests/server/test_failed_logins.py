"""Those who show tokens that are not valid wait; those whose tokens are valid do not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from aiohttp.test_utils import make_mocked_request

from aiauto import connect, errors
from aiauto.server import failed_logins
from aiauto.server.failed_logins import FailedLogins
from aiauto.server.trusted_proxies import TrustedProxies
from aiauto.server.web import worker_wheel
from tests.server.conftest import until

if TYPE_CHECKING:
    from tests.server.conftest import RunningApp

DIRECT = TrustedProxies()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_they_wait_longer_each_time() -> None:
    logins = FailedLogins(DIRECT, clock=Clock())
    pauses = [logins.pause("192.0.2.1") for _ in range(5000)]
    assert pauses[:9] == [0, 0, 0, 0, 0, 0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == max(pauses) == 5.0
    assert logins.pause("192.0.2.2") == 0


def test_one_caller_has_many_addresses() -> None:
    logins = FailedLogins(DIRECT, clock=Clock())
    for number in range(6):
        logins.pause(f"2001:db8::{number}")
    assert logins.pause("2001:db8::ffff%eth0") == 0.2
    assert logins.pause("2001:db8:0:1::1") == 0


def test_failures_are_forgotten() -> None:
    clock = Clock()
    logins = FailedLogins(DIRECT, clock=clock)
    for _ in range(20):
        logins.pause("192.0.2.1")
    clock.now = 301
    assert logins.pause("192.0.2.1") == 0


def test_nobody_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_logins, "REMEMBERED_CALLERS", 10)
    logins = FailedLogins(DIRECT, clock=Clock())
    for number in range(200):
        logins.pause(f"192.0.2.{number}")
    assert len(logins._failures) <= 10


async def test_nobody_fills_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_logins, "MAX_WAITING", 3)
    logins = FailedLogins(DIRECT)
    request = make_mocked_request("GET", "/")
    for _ in range(30):
        logins.pause(request.remote or "")
    waiting = [asyncio.create_task(logins.slow_down(request)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(errors.ResourceExhaustedError, match="failed log-ins"):
        await logins.slow_down(request)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert logins._waiting == 0


async def test_a_valid_token_is_answered_while_others_wait(running_app: RunningApp) -> None:
    token = await running_app.token_of("alice")
    for _ in range(40):
        running_app.parts.auth.failed_logins.pause("127.0.0.1")
    async with (
        connect.Transport(running_app.url, token="aiauto_guess") as guessing,
        connect.Transport(running_app.url, token=token) as good,
        aiohttp.ClientSession(running_app.url) as browser,
    ):
        guess = asyncio.create_task(
            stubs.AIAutoServiceClient(guessing).list_workspaces(v1.ListWorkspacesRequest())
        )
        form = {"token": "aiauto_guess"}
        typed = asyncio.create_task(
            browser.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        )

        headers = {"Authorization": "Bearer aiauto_guess"}
        paths = ("/metrics", worker_wheel.PATH, "/dashboard?key=1-guess")
        pages = [asyncio.create_task(browser.get(path, headers=headers)) for path in paths]

        async def all_wait() -> bool:
            return running_app.parts.auth.failed_logins._waiting == 2 + len(paths)

        await until(all_wait)
        await stubs.AIAutoServiceClient(good).list_workspaces(v1.ListWorkspacesRequest())
        assert not guess.done()
        assert not typed.done()
        with pytest.raises(errors.UnauthenticatedError, match="not valid"):
            await guess
        for asked in (typed, *pages):
            async with await asked as answer:
                assert answer.status == 401

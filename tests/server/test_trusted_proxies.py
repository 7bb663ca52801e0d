"""Behind a proxy everybody has its address: whom it names is believed only where it is trusted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from multidict import CIMultiDict

from aiauto import connect
from aiauto.errors import ArgumentValueError, UnauthenticatedError
from aiauto.server.logs import REQUEST_ATTRIBUTE
from aiauto.server.settings import Settings
from aiauto.server.trusted_proxies import HEADER, TrustedProxies
from aiauto.server.web import worker_wheel
from tests.server.conftest import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.conftest import RunningApp

pytestmark = pytest.mark.once

SOCKET = "127.0.0.1"
TRUSTED = "127.0.0.1, 192.0.2.0/24, 2001:db8:5::/48"
# What a proxy sends, a string a line, and whose request it is.
PASSED_ON: list[tuple[list[str], str]] = [
    ([], SOCKET),
    (["203.0.113.7"], "203.0.113.7"),
    # What the caller sent before the proxy added the caller's own address is not believed.
    (["203.0.113.66, 203.0.113.7"], "203.0.113.7"),
    (["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
    (["no address, 203.0.113.7"], "203.0.113.7"),
    # Several proxies, all of them known, in one line or in several.
    (["203.0.113.66, 203.0.113.7 ,192.0.2.1,2001:db8:5::1"], "203.0.113.7"),
    (["203.0.113.66", "203.0.113.7, 192.0.2.1", "192.0.2.9"], "203.0.113.7"),
    (["192.0.2.1, 192.0.2.9"], "192.0.2.1"),
    # As different proxies write addresses.
    (["203.0.113.7:4711"], "203.0.113.7"),
    (["203.0.113.66, 203.0.113.7, 192.0.2.1:4711"], "203.0.113.7"),
    (["2001:DB8::7"], "2001:db8::7"),
    (["[2001:db8::7]"], "2001:db8::7"),
    (["[2001:db8::7]:4711"], "2001:db8::7"),
    (["2001:db8::7, [2001:db8:5::1]:4711"], "2001:db8::7"),
    (["fe80::7%eth0"], "fe80::7"),
    (["::ffff:203.0.113.7"], "203.0.113.7"),
    (["203.0.113.7, ::ffff:192.0.2.1"], "203.0.113.7"),
    # What is none.
    ([""], SOCKET),
    ([","], SOCKET),
    (["203.0.113.7, "], SOCKET),
    (["unknown"], SOCKET),
    (["203.0.113.7, unknown"], SOCKET),
    (["203.0.113.7, unknown, 192.0.2.1"], SOCKET),
    (["203.0.113"], SOCKET),
    (["203.0.113.7:"], SOCKET),
    (["203.0.113.7:port"], SOCKET),
    (["[2001:db8::7"], SOCKET),
    (["[]:1"], SOCKET),
    (["::ffff:203.0.113.700"], SOCKET),
    (["203.0.113.0/24"], SOCKET),
    (["\u0663.0.113.7"], SOCKET),
    (["lab.example"], SOCKET),
    ([", ".join(["192.0.2.1"] * 500)], "192.0.2.1"),
]


async def remotes_in_the_log(
    running: RunningApp, lines: list[list[str]], caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Whose requests the server says that they are."""
    caplog.set_level(logging.DEBUG, "aiohttp.access")
    async with aiohttp.ClientSession(running.url) as browser:
        for passed_on in lines:
            headers = CIMultiDict((HEADER, line) for line in passed_on)
            async with browser.get("/healthz", headers=headers) as answer:
                assert answer.status == 200
    records = [record for record in caplog.records if record.name == "aiohttp.access"]
    remotes = [str(getattr(record, REQUEST_ATTRIBUTE)["remote"]) for record in records]
    assert [record.getMessage().split()[0] for record in records] == remotes
    return remotes


async def guess_everywhere(running: RunningApp, remotes: list[str]) -> set[str]:
    """Fail to log in by each way that there is, as another caller each time.

    Returns:
        The addresses that the failures are held against.
    """
    bearer = {"Authorization": "Bearer aiauto_guess"}
    left = iter(remotes)
    async with (
        connect.Transport(running.url, token="aiauto_guess", headers={HEADER: next(left)}) as one,
        aiohttp.ClientSession(running.url) as browser,
    ):
        with pytest.raises(UnauthenticatedError):
            await stubs.AIAutoServiceClient(one).list_workspaces(v1.ListWorkspacesRequest())
        headers = {HEADER: next(left), "Sec-Fetch-Site": "same-origin"}
        async with browser.post(
            "/login", data={"token": "aiauto_guess"}, headers=headers
        ) as answer:
            assert answer.status == 401
        for path in ("/token", "/metrics", worker_wheel.PATH, "/token?key=1-guess"):
            async with browser.get(path, headers={HEADER: next(left), **bearer}) as answer:
                assert answer.status == 401
    return set(running.parts.auth.failed_logins._failures)


GUESSERS = [f"203.0.113.{number}" for number in range(6)]


async def test_a_trusted_proxy_is_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = TrustedProxies.parse("x", TRUSTED)
    async with serving(tmp_path / "data", trusted_proxies=trusted) as running:
        found = await remotes_in_the_log(running, [sent for sent, _ in PASSED_ON], caplog)
        assert found == [remote for _, remote in PASSED_ON]
        assert await guess_everywhere(running, GUESSERS) == set(GUESSERS)


@pytest.mark.parametrize("trusted", ["", "192.0.2.0/24,::1"])
async def test_nobody_else_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trusted: str
) -> None:
    spoofed = [["203.0.113.7"], ["192.0.2.1"], ["203.0.113.7, 192.0.2.1"], ["::1"]]
    proxies = TrustedProxies.parse("x", trusted)
    async with serving(tmp_path / "data", trusted_proxies=proxies) as running:
        assert await remotes_in_the_log(running, spoofed, caplog) == [SOCKET] * len(spoofed)
        assert await guess_everywhere(running, GUESSERS) == {SOCKET}


def test_what_is_no_proxy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(text: str) -> Settings:
        monkeypatch.setenv("AIAUTO_TRUSTED_PROXIES", text)
        return Settings.from_environment(data_dir=tmp_path)

    assert settings("").trusted_proxies.networks == ()
    read = settings(" 10.0.0.0/8 ,2001:db8::1,").trusted_proxies.networks
    assert [str(one) for one in read] == ["10.0.0.0/8", "2001:db8::1/128"]
    for wrong in ("proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1 10.0.0.2", "*"):
        with pytest.raises(ArgumentValueError, match="AIAUTO_TRUSTED_PROXIES names ") as caught:
            settings(f"10.1.0.0/16,{wrong}")
        assert repr(wrong) in str(caught.value)
        assert caught.value.argument == "trusted_proxies"

"""Log-ins on their way: known again once, by the browser that began them, for a while."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest

from aiauto.server.openid import flows
from aiauto.server.openid.flows import FLOW_SECONDS, Flows

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = bytes(range(32))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_one_that_comes_back_is_the_same() -> None:
    flow, cookie = Flows(SECRET).begin("/study/아다?x=1")
    # Also after a restart: nothing was kept.
    again = Flows(SECRET).resume(flow.state, cookie)
    assert again is not None
    assert again == flow
    assert again.target == "/study/아다?x=1"
    digest = base64.urlsafe_b64decode(flow.challenge + "=")
    assert digest == hashlib.sha256(flow.verifier.encode()).digest()
    assert len({flow.state, flow.nonce, flow.verifier, cookie}) == 4
    # What the browser and the issuer see gives away neither.
    assert flow.verifier not in flow.state + cookie + repr(flow)


def test_no_two_are_alike() -> None:
    made = [Flows(SECRET).begin("/") for _ in range(100)]
    for part in ("state", "nonce", "verifier"):
        assert len({getattr(flow, part) for flow, _ in made}) == 100


def test_it_comes_back_once() -> None:
    ours = Flows(SECRET)
    flow, cookie = ours.begin("/")
    assert ours.resume(flow.state, cookie)
    assert ours.resume(flow.state, cookie) is None


def test_it_ends() -> None:
    clock = Clock()
    ours = Flows(SECRET, clock=clock)
    (first, first_cookie), (second, second_cookie) = ours.begin("/"), ours.begin("/")
    clock.now += FLOW_SECONDS - 1
    assert ours.resume(first.state, first_cookie)
    clock.now += 1
    assert ours.resume(second.state, second_cookie) is None
    # Those that have ended need not be known any longer.
    third, third_cookie = ours.begin("/")
    assert ours.resume(third.state, third_cookie)
    assert list(ours._used) == [third.state]


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "REMEMBERED_STATES", 3)
    ours = Flows(SECRET)
    begun = [ours.begin("/") for _ in range(5)]
    assert all(ours.resume(flow.state, cookie) for flow, cookie in begun)
    assert list(ours._used) == [flow.state for flow, _ in begun[2:]]


CHANGES: list[Callable[[str, str], tuple[str, str]]] = [
    lambda state, cookie: (state, cookie + "A"),
    lambda state, cookie: (state, cookie[1:]),
    lambda state, _: (state, ""),
    lambda state, cookie: (state, cookie.partition(".")[0] + "./evil"),
    lambda _, cookie: ("", cookie),
    lambda _, cookie: (".", cookie),
    lambda state, cookie: (state[:-1], cookie),
    lambda state, cookie: (state.swapcase(), cookie),
    lambda state, cookie: (f"9{state}", cookie),
    lambda state, cookie: (f"{state}.\udcff", f"{cookie}\udcff"),
    lambda state, cookie: (cookie, state),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_none(change: Callable[[str, str], tuple[str, str]]) -> None:
    ours = Flows(SECRET)
    flow, cookie = ours.begin("/")
    assert ours.resume(*change(flow.state, cookie)) is None
    assert ours.resume(flow.state, cookie)


def test_another_server_knows_nothing_of_it() -> None:
    other = Flows(SECRET[::-1])
    made, cookie = Flows(SECRET).begin("/")
    assert other.resume(made.state, cookie) is None
    assert other.cookie_name != Flows(SECRET).cookie_name

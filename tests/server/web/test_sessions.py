"""Cookies and keys: good ones are known again, all others are not."""

from __future__ import annotations

import pytest

from aiauto.server.web.sessions import (
    IDENTITY_SESSION_SECONDS,
    SESSION_SECONDS,
    LoggedIn,
    Sessions,
)

SECRET = bytes(range(32))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_stable_and_names_its_user() -> None:
    key = Sessions(SECRET).key(7)
    assert key == Sessions(SECRET).key(7)
    assert Sessions(SECRET).user_of_key(key) == 7
    assert Sessions(SECRET).user_of_key(Sessions(SECRET).key(8)) == 8


def test_a_cookie_ends() -> None:
    clock = Clock()
    sessions = Sessions(SECRET, clock=clock)
    cookie = sessions.cookie(LoggedIn(7))
    assert sessions.of_cookie(cookie) == LoggedIn(7)
    clock.now += SESSION_SECONDS - 1
    assert sessions.of_cookie(cookie) == LoggedIn(7)
    clock.now += 1
    assert sessions.of_cookie(cookie) is None


def test_a_cookie_tells_by_which_token_its_session_began() -> None:
    sessions = Sessions(SECRET)
    who = LoggedIn(7, token_id=12)
    assert sessions.of_cookie(sessions.cookie(who)) == who
    assert sessions.cookie(who) != sessions.cookie(LoggedIn(7))


def test_a_session_that_the_issuer_began_names_whom_it_knows_and_is_short() -> None:
    clock = Clock()
    sessions = Sessions(SECRET, clock=clock)
    who = LoggedIn(7, identity_id=12)
    cookie = sessions.cookie(who)
    assert sessions.of_cookie(cookie) == who
    assert cookie.split(".")[:2] != sessions.cookie(LoggedIn(7, token_id=12)).split(".")[:2]
    clock.now += IDENTITY_SESSION_SECONDS
    assert sessions.of_cookie(cookie) is None


@pytest.mark.parametrize("session", [f"7.{2**40}", f"7.12.{2**40}"])
def test_a_cookie_of_earlier_versions_is_nobody(session: str) -> None:
    sessions = Sessions(SECRET)
    assert sessions.of_cookie(f"{session}.{sessions._sign(f'session {session}')}") is None


def test_a_key_is_no_cookie_and_a_cookie_no_key() -> None:
    sessions = Sessions(SECRET)
    assert sessions.of_cookie(sessions.key(7)) is None
    assert sessions.user_of_key(sessions.cookie(LoggedIn(7))) is None


@pytest.mark.parametrize(
    "forged",
    ["", "-", ".", "7", "7-", "7.9.", "7-" + "\N{SNOWMAN}" * 43, "7-\udcff", "9" * 5000 + "-x"],
)
def test_what_is_not_ours_is_nobody(forged: str) -> None:
    assert Sessions(SECRET).user_of_key(forged) is None
    assert Sessions(SECRET).of_cookie(forged) is None


def test_what_was_ours_and_was_changed_is_nobody() -> None:
    sessions = Sessions(SECRET)
    for good in (sessions.key(7), sessions.cookie(LoggedIn(7))):
        for forged in (good[:-1], good + "A", good.replace("7", "8", 1), good.swapcase()):
            assert sessions.user_of_key(forged) is None
            assert sessions.of_cookie(forged) is None


def test_another_secret_makes_other_keys_and_another_cookie_name() -> None:
    ours, other = Sessions(SECRET), Sessions(SECRET[::-1])
    assert ours.cookie_name != other.cookie_name
    assert other.user_of_key(ours.key(7)) is None
    assert other.of_cookie(ours.cookie(LoggedIn(7))) is None

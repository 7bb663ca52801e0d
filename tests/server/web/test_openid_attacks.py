"""Log-ins that nobody has begun here, or that are finished: each is refused, by a page for people.

And a line is in the log. Tokens and the issuer itself have modules of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yarl import URL

from aiauto.server import failed_logins
from tests.issuer import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from tests.server.conftest import Lab

pytestmark = pytest.mark.usefixtures("unhurried")


async def test_a_state_of_another_browser(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    # As where somebody is led to a log-in that another has begun, to work in that one's name.
    attacker, victim = lab.visitor(), lab.visitor()
    theirs = await attacker.way_back()
    await victim.stays_out(await victim.get(theirs), 400, "not begun in this browser")
    await victim.leave()
    await victim.stays_out(await victim.get(theirs), 400, "not begun in this browser")
    assert lab.issuer.asked(TOKEN) == 0
    assert "log-in by Lab refused: it was begun in another browser" in caplog.text
    # Whoever did begin it may still come back.
    assert (await attacker.get(theirs)).status == 303


async def test_a_state_that_comes_back_twice(lab: Lab) -> None:
    visitor = lab.visitor()
    cookie = (await visitor.get(address := "/login/openid?next=/token")).cookies
    back = (await visitor.get((await visitor.get(address)).location)).location
    del cookie
    (kept,) = [one.value for one in visitor.http.cookie_jar if one.key == visitor.flow_cookie]
    assert (await visitor.get(back)).status == 303
    other = lab.visitor(Cookie=f"{visitor.flow_cookie}={kept}")
    await other.stays_out(await other.get(back), 400, "come to its end already")
    assert lab.issuer.asked(TOKEN) == 1


CHANGES: list[Callable[[str], str]] = [
    lambda _: "",
    lambda state: state[:-1],
    lambda state: state + "A",
    lambda state: state.replace(state.partition(".")[0], "99999999999"),
    lambda _: "\N{SNOWMAN}",
    lambda _: ".",
    lambda _: "x" * 7000,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_state_that_is_not_ours(lab: Lab, change: Callable[[str], str]) -> None:
    visitor = lab.visitor()
    back = URL(await visitor.way_back())
    forged = back.update_query(state=change(back.query["state"]))
    await visitor.stays_out(await visitor.get(str(forged)), 400, "Begin again")
    await visitor.stays_out(
        await visitor.get(str(back.without_query_params("state"))), 400, "Begin again"
    )


async def test_a_code_of_another_log_in(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    # PKCE: it is good only for the browser whose log-in it is from.
    theirs = URL(await lab.visitor().way_back())
    visitor = lab.visitor()
    ours = URL(await visitor.way_back()).update_query(code=theirs.query["code"])
    await visitor.stays_out(await visitor.get(str(ours)), 502, "can't trust")
    assert "the issuer did not take the code: 400 invalid_grant" in caplog.text


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ({"error": "access_denied", "code": None}, 403, "Lab did not log you in"),
        ({"error": "<b>\n2026 ERROR made up", "code": None}, 403, "Lab did not log you in"),
        ({"code": None}, 502, "can't trust"),
        ({"code": ""}, 502, "can't trust"),
        ({"code": "x" * 5000}, 502, "can't trust"),
        ({"code": "unknown"}, 502, "can't trust"),
        ({"iss": "https://evil.example"}, 502, "can't trust"),
    ],
)
async def test_answers_that_say_nothing_good(
    lab: Lab,
    caplog: pytest.LogCaptureFixture,
    query: dict[str, str | None],
    status: int,
    told: str,
) -> None:
    visitor = lab.visitor()
    back = URL(await visitor.way_back())
    changed = {**back.query, **query}
    address = back.with_query({name: one for name, one in changed.items() if one is not None})
    await visitor.stays_out(await visitor.get(str(address)), status, told)
    assert "log-in by Lab refused" in caplog.text
    assert "made up" not in caplog.text


async def test_whoever_brings_nothing_good_again_and_again_waits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str | None] = []

    async def slow_down(_self: object, request: web.BaseRequest) -> None:
        waited.append(request.remote)

    monkeypatch.setattr(failed_logins.FailedLogins, "slow_down", slow_down)
    visitor = lab.visitor()
    await visitor.get("/login/openid/callback?state=guess&code=guess")
    assert waited == ["127.0.0.1"]
    await visitor.log_in()
    assert len(waited) == 1

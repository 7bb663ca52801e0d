"""Logging in by an issuer: there, back, and what a session that began so may do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from yarl import URL

from aiauto.server.openid import flows
from aiauto.server.openid.refusals import Reason
from aiauto.server.web import words
from aiauto.server.web.sessions import IDENTITY_SESSION_SECONDS
from tests.issuer import AUTHORIZE, CLIENT_ID, DISCOVERY, KEYS, USER_INFO, key
from tests.server.people import People

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.issuer import LocalIssuer
    from tests.server.conftest import Lab


async def test_from_the_page_to_a_token_of_ones_own(lab: Lab) -> None:
    visitor = lab.visitor()
    page = await visitor.get("/token")
    assert page.status == 401
    assert '<a class="button" href="/login/openid?next=%2Ftoken">Continue with Lab</a>' in page.text
    assert '<form method="post" action="/login">' in page.text
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]

    there = await visitor.get("/login/openid?next=%2Ftoken")
    assert there.headers["Cache-Control"] == "no-store"
    cookie = there.cookies[visitor.flow_cookie]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert (cookie["path"], cookie["max-age"]) == ("/login/openid", "600")
    address = URL(there.location)
    assert address.path == AUTHORIZE
    assert address.query["redirect_uri"] == f"{lab.app.url}/login/openid/callback"
    assert (address.query["client_id"], address.query["kc"]) == (CLIENT_ID, "1")

    back = await visitor.get((await visitor.get(there.location)).location)
    assert (back.status, back.location) == (303, "/token")
    session = back.cookies[visitor.session_cookie]
    assert (session["httponly"], session["samesite"], session["path"]) == (True, "Lax", "/")
    assert int(session["max-age"]) == IDENTITY_SESSION_SECONDS == 12 * 3600
    assert back.cookies[visitor.flow_cookie].value == ""
    assert await visitor.is_in()
    assert await visitor.name() == "ada"

    # The page issues a token, by which their programs work.
    token = (await visitor.call("CreateToken", name="laptop", expiryDays="7"))["token"]
    ada = People(lab.app).with_token(token)
    active = await ada.service.get_active_token(v1.GetActiveTokenRequest())
    assert (active.user_name, active.is_admin) == ("ada", False)
    await ada.service.ensure_workspace(v1.EnsureWorkspaceRequest())
    (workspace,) = (await visitor.call("ListWorkspaces"))["workspaces"]
    assert workspace["name"].startswith("workspace-")
    # What needs a token says so.
    async with visitor.http.post(
        "/aiauto.v1.AIAutoService/RotateToken", json={}, headers={"Sec-Fetch-Site": "same-origin"}
    ) as answer:
        assert "logged in without one" in await answer.text()
    await ada.transport.close()


async def test_whoever_comes_again_is_the_same_user(lab: Lab) -> None:
    first, second = lab.visitor(), lab.visitor()
    await first.log_in()
    # Names and addresses change, and say nothing about who somebody is.
    lab.issuer.person |= {"preferred_username": "lovelace", "email": "lovelace@example.org"}
    await second.log_in()
    assert await first.name() == await second.name() == "ada"
    lab.issuer.person["sub"] = "another"
    third = lab.visitor()
    await third.log_in()
    assert await third.name() == "lovelace"


async def test_logging_out_ends_the_session_here(lab: Lab) -> None:
    visitor = lab.visitor()
    await visitor.log_in()
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with visitor.http.post("/logout", headers=headers, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/login"
    assert not await visitor.is_in()
    # The issuer still knows them.
    assert (await visitor.log_in()).status == 303


async def test_the_page_is_korean_where_the_browser_is(lab: Lab) -> None:
    visitor = lab.visitor(**{"Accept-Language": "ko-KR,ko;q=0.9"})
    assert "Lab 계정으로 계속하기" in (await visitor.get("/login")).text
    stale = await visitor.get("/login/openid/callback?state=x&code=y")
    assert stale.status == 400
    assert "여기서 다시 시작하세요" in stale.notice


def test_every_refusal_has_words_in_every_language() -> None:
    for one in (words.ENGLISH, words.KOREAN):
        assert one.openid_refusals.keys() == set(Reason)
        for text in (*one.openid_refusals.values(), one.continue_with):
            assert text.format(issuer="<Lab>", subject="f3b1")


async def test_an_issuer_s_name_is_text(open_lab: Callable[..., Awaitable[Lab]]) -> None:
    issuer = (await open_lab()).issuer
    lab = await open_lab(openid=issuer.settings(name="<b>Lab</b> & {issuer}"))
    page = await lab.visitor().get("/login")
    assert "Continue with &lt;b&gt;Lab&lt;/b&gt; &amp; {issuer}" in page.text


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "/\r"],
)
async def test_it_leads_nobody_astray(lab: Lab, target: str) -> None:
    assert (await lab.visitor().log_in(target)).location == "/"


async def test_it_leads_where_somebody_wanted_to_go(lab: Lab) -> None:
    for target in ("/study/a%20b?x=1&y=%26", "/dashboard?study=5", f"/study/{'n' * 900}"):
        assert (await lab.visitor().log_in(target)).location == target
    assert (await lab.visitor().log_in(f"/study/{'n' * 3000}")).location == "/"


async def test_two_log_ins_of_one_browser(lab: Lab) -> None:
    visitor = lab.visitor()
    first = await visitor.way_back("/study")
    second = await visitor.way_back("/workspace")
    assert (await visitor.get(first)).status == 400
    # That one has used up the cookie: the page lets them begin again.
    assert (await visitor.get(second)).status == 400
    assert (await visitor.log_in()).status == 303


async def test_whoever_merely_looks_uses_nothing_up(lab: Lab) -> None:
    visitor = lab.visitor()
    back = await visitor.way_back()
    async with visitor.http.head(URL(back, encoded=True), allow_redirects=False) as answer:
        assert answer.status == 405
    assert (await visitor.get(back)).status == 303


async def test_the_issuer_is_asked_once_however_many_come(lab: Lab) -> None:
    await asyncio.gather(*(lab.visitor().log_in() for _ in range(12)))
    assert (lab.issuer.asked(DISCOVERY), lab.issuer.asked(KEYS)) == (1, 1)
    assert lab.issuer.asked(USER_INFO) == 0


async def test_what_the_id_token_leaves_out_is_asked_for(lab: Lab) -> None:
    lab.issuer.only_in_user_info = frozenset({"email", "email_verified", "preferred_username"})
    visitor = lab.visitor()
    assert (await visitor.log_in()).status == 303
    assert lab.issuer.asked(USER_INFO) == 1
    assert await visitor.name() == "ada"


async def test_an_issuer_that_wants_the_secret_in_the_form(lab: Lab) -> None:
    lab.issuer.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await lab.visitor().log_in()).status == 303


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("RS512", "RSA"), ("PS256", "RSA"), ("ES256", "EC"), ("Ed25519", "OKP")],
)
async def test_signatures_that_are_taken(lab: Lab, algorithm: str, kind: str) -> None:
    lab.issuer.algorithm, lab.issuer.key = algorithm, key(f"of {kind}", kind)
    # Beside keys that are for something else, or of kinds that nobody knows yet.
    other: list[Any] = [{"kty": "AKP", "alg": "ML-DSA-44", "kid": "x", "pub": "AA"}, {"kty": ["x"]}]
    lab.issuer.published = [*other, key("first"), lab.issuer.key]
    assert (await lab.visitor().log_in()).status == 303


async def test_keys_change(lab: Lab) -> None:
    assert (await lab.visitor().log_in()).status == 303
    lab.issuer.key = key("second")
    lab.issuer.published.append(lab.issuer.key)
    for _ in range(2):
        assert (await lab.visitor().log_in()).status == 303
    assert lab.issuer.asked(KEYS) == 2


async def test_other_names_of_this_machine(lab: Lab) -> None:
    port = URL(lab.app.url).port
    visitor = lab.visitor()
    answer = await visitor.get(f"http://localhost:{port}/login/openid?next=%2Fstudy%3Fa%3D1")
    assert answer.location == f"{lab.app.url}/login/openid?next=/study?a%3D1"
    assert URL(answer.location).query["next"] == "/study?a=1"
    assert visitor.flow_cookie not in answer.cookies


async def test_behind_a_proxy_cookies_are_secure(open_lab: Callable[..., Awaitable[Lab]]) -> None:
    lab = await open_lab(public_url="https://lab.example/")
    visitor = lab.visitor(Host="lab.example")
    there = await visitor.get("/login/openid?next=/token")
    assert there.cookies[visitor.flow_cookie]["secure"]
    uri = URL(there.location).query["redirect_uri"]
    assert uri == "https://lab.example/login/openid/callback"


async def test_without_an_issuer_nothing_is_there(
    open_lab: Callable[..., Awaitable[Lab]],
) -> None:
    lab = await open_lab(openid=None)
    visitor = lab.visitor()
    assert "Continue with" not in (await visitor.get("/login")).text
    assert (await visitor.get("/login/openid")).status == 404


def test_what_checks_signatures_is_loaded_only_where_it_is_needed(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from aiauto.server.app import create_app
from aiauto.server.openid.settings import OpenIdSettings
from aiauto.server.settings import Settings

create_app(Settings(data_dir=Path(sys.argv[1])))
assert "joserfc" not in sys.modules
openid = OpenIdSettings(issuer="https://lab.example", client_id="a", client_secret="b")
create_app(Settings(data_dir=Path(sys.argv[1]), openid=openid))
assert "joserfc" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env={**os.environ})


async def test_a_session_lasts_no_longer_than_it_says(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = lab.visitor()
    monkeypatch.setattr("aiauto.server.web.sessions.IDENTITY_SESSION_SECONDS", 0)
    back = await visitor.log_in()
    # Browsers forget it by themselves; whoever does not is refused all the same.
    cookie = back.cookies[visitor.session_cookie].value
    headers = {"Cookie": f"{visitor.session_cookie}={cookie}", "Accept": "text/html"}
    async with (
        aiohttp.ClientSession(lab.app.url, headers=headers) as http,
        http.get("/token") as answer,
    ):
        assert answer.status == 401


async def test_a_log_in_that_takes_too_long(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "FLOW_SECONDS", 0)
    visitor = lab.visitor()
    back = await visitor.way_back()
    late = await visitor.get(back)
    assert late.status == 400
    assert "too long ago" in late.notice
    assert not await visitor.is_in()


def test_the_issuer_of_the_tests_is_what_the_variables_say(
    issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in issuer.environment().items():
        monkeypatch.setenv(name, value)
    assert type(issuer.settings()).from_environment() == issuer.settings()

"""Calls with the session of a browser: only by our own pages, and no longer than its cause."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from sqlalchemy import update
from yarl import URL

from aiauto.connect.contract import StreamKind
from aiauto.server import services
from aiauto.server.browsers import PAGE_SERVICES
from aiauto.server.data_dir import DataDir
from aiauto.server.database.models import Token, now
from aiauto.server.web.sessions import Sessions
from tests.server.people import FROM_ANOTHER_SITE, People

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiauto.connect.method import MethodInfo
    from tests.server.conftest import RunningApp
    from tests.server.people import Person

LIST_TOKENS = "/aiauto.v1.AIAutoService/ListTokens"
WATCH = "/aiauto.v1.ProgressService/WatchTrialBatch"
FRAMED = b"\0" + len(b"{}").to_bytes(4, "big") + b"{}"
OURS = {"Sec-Fetch-Site": "same-origin"}
JSON = {"Content-Type": "application/json"}
OUR_PAGE = {**OURS, **JSON}
STREAM = {"Content-Type": "application/connect+json"}


class Browser:
    """A browser with a session: it sends its cookie along whatever it is asked to send."""

    def __init__(self, app: RunningApp) -> None:
        self.app = app
        self.http = aiohttp.ClientSession(app.url, cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def log_in(self, token: str) -> None:
        form = {"token": token, "next": "/token"}
        async with self.http.post("/login", data=form, headers=OURS, allow_redirects=False) as got:
            assert (got.status, got.headers["Location"]) == (303, "/token")

    async def follow_link(self, user_id: int) -> None:
        link = URL(self.app.parts.links.pages_url(user_id)).relative()
        async with self.http.get(link, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")

    async def call(
        self, headers: Mapping[str, str], path: str = LIST_TOKENS, body: bytes = b"{}"
    ) -> tuple[int, bytes]:
        async with self.http.post(path, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def works(self, headers: Mapping[str, str] = OUR_PAGE) -> bool:
        status, body = await self.call(headers)
        if status != 200:
            assert status == 401, body
            assert json.loads(body)["code"] == "unauthenticated"
        return status == 200

    async def sees_pages(self) -> bool:
        async with self.http.get("/token", allow_redirects=False) as answer:
            return answer.status == 200


@pytest.fixture
async def people(running_app: RunningApp) -> AsyncIterator[People]:
    people = People(running_app)
    yield people
    await people.close()


@pytest.fixture
async def alice(people: People) -> Person:
    return people.with_token(await people.app.token_of("alice"))


@pytest.fixture
async def browser(running_app: RunningApp, alice: Person) -> AsyncIterator[Browser]:
    browser = Browser(running_app)
    await browser.log_in(alice.token)
    yield browser
    await browser.http.close()


async def test_our_own_page_may_call(browser: Browser) -> None:
    origin = {"Origin": browser.app.url}
    for headers in (OUR_PAGE, {**origin, **JSON}):
        status, body = await browser.call(headers)
        assert status == 200
        (token,) = json.loads(body)["tokens"]
        assert token["current"]
    charset = {"Content-Type": "application/json; charset=utf-8"}
    assert await browser.works({**OURS, **charset})


@pytest.mark.parametrize("headers", FROM_ANOTHER_SITE)
async def test_a_page_of_another_site_may_not(browser: Browser, headers: dict[str, str]) -> None:
    assert not await browser.works({**headers, **JSON})
    # One that has the wrong origin is not made good by the other header.
    if headers.get("Sec-Fetch-Site"):
        assert not await browser.works({**headers, **JSON, "Origin": browser.app.url})
    status, body = await browser.call({**headers, **STREAM}, WATCH, FRAMED)
    assert status == 200  # a stream tells its error at its end
    assert b'"unauthenticated"' in body


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
        # What the SDK sends shows a token.
        ("application/proto", 401),
    ],
)
async def test_only_what_pages_send(browser: Browser, content_type: str, status: int) -> None:
    body = b"" if content_type == "application/proto" else b"{}"
    got, _ = await browser.call({**OURS, "Content-Type": content_type}, body=body)
    assert got == status


async def test_never_by_get(browser: Browser) -> None:
    # A link or a picture on another site would do for that.
    query = {"encoding": "json", "message": "{}"}
    async with browser.http.get(LIST_TOKENS, params=query, headers=OURS) as answer:
        assert answer.status == 401
        assert (await answer.json())["code"] == "unauthenticated"


async def test_a_token_that_is_shown_counts_and_nothing_else(browser: Browser) -> None:
    for shown in ("Bearer garbage", "Bearer ", "Basic x", ""):
        assert not await browser.works({**OUR_PAGE, "Authorization": shown})


async def test_streams(browser: Browser, alice: Person) -> None:
    batch = await alice.begin("watched")
    message = json.dumps({"trialbatchName": batch}).encode()
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    async with browser.http.post(WATCH, data=framed, headers={**OURS, **STREAM}) as answer:
        assert answer.status == 200
        flags, *size = await answer.content.readexactly(5)
        first = await answer.content.readexactly(int.from_bytes(size, "big"))
    assert flags == 0
    assert json.loads(first)["status"]["trialbatchName"] == batch


async def test_which_services_pages_may_call(browser: Browser) -> None:
    methods: list[MethodInfo[Any, Any]] = [
        bound.method
        for one in services.build(browser.app.parts)
        for bound in one.__bound_methods__()
    ]
    refused: set[str] = set()
    for method in methods:
        unary = method.kind == StreamKind.UNARY
        # What takes an empty request to be done, and is about all that somebody has.
        if method.path.endswith(("DeleteWorkspace", "DeleteToken")):
            continue
        status, body = await browser.call(
            {**OURS, **(JSON if unary else STREAM)}, method.path, b"{}" if unary else FRAMED
        )
        if b'"unauthenticated"' in body:
            refused.add(method.path.strip("/").partition("/")[0])
        else:
            assert method.path.strip("/").partition("/")[0] in PAGE_SERVICES
            assert status < 500
    assert refused == {
        "aiauto.v1.EnrollmentService",
        "aiauto.v1.JournalService",
        "aiauto.v1.RunnerService",
        "aiauto.v1.UserService",
    }


async def test_it_ends_when_its_token_is_revoked(browser: Browser, alice: Person) -> None:
    by_link = Browser(browser.app)
    user_id = (await browser.app.parts.auth.authenticate(alice.token)).user_id
    await by_link.follow_link(user_id)
    assert await browser.works()
    (token,) = (await alice.service.list_tokens(v1.ListTokensRequest())).tokens
    # By the page itself, as its button does it.
    message = json.dumps({"tokenId": token.id}).encode()
    status, _ = await browser.call(OUR_PAGE, "/aiauto.v1.AIAutoService/RevokeToken", message)
    assert status == 200
    assert not await browser.works()
    assert not await browser.sees_pages()
    # A link logs its user in, whatever tokens there are.
    assert await by_link.works()
    assert await by_link.sees_pages()
    await by_link.http.close()


async def test_it_ends_when_its_token_does(browser: Browser) -> None:
    assert await browser.sees_pages()
    past = now() - timedelta(seconds=1)
    await browser.app.parts.database.write(
        lambda session: session.execute(update(Token).values(expires_at=past))
    )
    assert not await browser.works()
    assert not await browser.sees_pages()


async def test_it_ends_when_its_user_is_kept_out(people: People) -> None:
    root = await people.admin()
    browser = Browser(people.app)
    await browser.log_in(await people.app.token_of("bob"))
    assert await browser.works()
    await root.disable("bob")
    assert not await browser.works()
    await browser.http.close()


async def test_what_is_about_a_token_needs_one(people: People, alice: Person) -> None:
    browser = Browser(people.app)
    user_id = (await people.app.parts.auth.authenticate(alice.token)).user_id
    await browser.follow_link(user_id)
    for call in ("DeleteToken", "RotateToken"):
        status, body = await browser.call(OUR_PAGE, f"/aiauto.v1.AIAutoService/{call}")
        assert (status, json.loads(body)["code"]) == (400, "failed_precondition")
    status, body = await browser.call(OUR_PAGE, "/aiauto.v1.AIAutoService/GetActiveToken")
    assert (status, json.loads(body)) == (200, {"userName": "alice"})
    status, body = await browser.call(OUR_PAGE)
    assert "current" not in json.loads(body)["tokens"][0]
    await browser.http.close()


async def test_a_cookie_of_another_server_is_none(browser: Browser) -> None:
    ours = Sessions(DataDir(browser.app.data_dir).secret())
    (cookie,) = browser.http.cookie_jar
    user, _, rest = cookie.value.partition(".")
    for forged in (f"{int(user) + 1}.{rest}", cookie.value[:-1], "", "x"):
        browser.http.cookie_jar.update_cookies({ours.cookie_name: forged}, URL(browser.app.url))
        assert not await browser.works()

"""Every page, in every way that it can be asked for, by everybody who has no business there.

The pages are those of the running server and of the dashboard in it: one that is added fails here
until it is said what the names in its path stand for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import importlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from optuna.storages import InMemoryStorage
from sqlalchemy import update
from yarl import URL

from aiauto import connect
from aiauto.connect.contract import StreamKind
from aiauto.server.database.models import Token, User, now
from aiauto.server.web import worker_wheel
from aiauto.server.web.dashboard import PATHS
from tests.server.isolation.house import (
    CONTENT,
    NOTHING,
    House,
    Things,
    begin_batch,
    digest,
)
from tests.server.visitors import OUR_PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.server.conftest import Lab

pytestmark = pytest.mark.once

OURS = {"Sec-Fetch-Site": "same-origin"}
# Anybody may ask for these, and finds nothing of anybody's.
OPEN = {"/healthz", "/login", "/logout", "/readyz", "/assets/{digest}/{path}"}
# Where an issuer says who people are.
OPENID = {"/login/openid", "/login/openid/callback"}
REFUSED = {401, 403}
# What those who run the server ask for: its own users are refused as well.
OF_ADMINS = {"/metrics"}
# Whatever some request of the dashboard takes.
BODY = {
    "directions": ["minimize"],
    "version": 1,
    "body": "written by somebody else",
    "user_attrs": {"a": 1},
    "state": "Fail",
    "mode": "ChooseWorst",
    "candidates": [0],
    "clicked": 0,
    "output_type": "note",
    "artifact_key": None,
    "file": "data:text/plain;base64,QUJD",
    "filename": "theirs.txt",
    "user_query": "anything",
}


def values(things: Things) -> dict[str, str]:
    """What names in paths stand for, where they are about somebody's things."""
    number = "0" if things is not NOTHING else "987654"
    return {
        "study_id": number,
        "trial_id": number,
        "history_id": things.artifact,
        "artifact_id": "0f0e0d0c-0000-4000-8000-000000000000",
        "plot_type": "timeline",
        "filename": "bundle.js.LICENSE.txt",
        "name": things.batch,
        "digest": "0",
        "path": "app.js",
    }


@dataclass(frozen=True)
class Route:
    """One way to ask for one page: a method, and a path with names in braces."""

    method: str
    path: str

    def of(self, things: Things) -> URL:
        return URL(self.path.format("", **values(things)), encoded=True)


def routes(house: House) -> list[Route]:
    """All that the server answers, but for calls."""
    found = [
        Route(route.method, route.resource.canonical)
        for route in house.app.app.router.routes()
        if route.resource is not None and not route.resource.canonical.startswith("/aiauto.v1")
    ]
    behind = {one.path for one in found if one.method == "*"}
    assert behind == {re.sub(r"\{rest:[^}]*\}", "{rest}", path) for path in PATHS}
    application: Any = importlib.import_module("optuna_dashboard").wsgi(InMemoryStorage())
    # <name>, <name:filter> and <name:filter:more>, of which "more" has no brackets, here.
    of_dashboard = [
        Route(one.method, re.sub(r"<(\w*)(?::[^<>]*)?>", r"{\1}", one.rule))
        for one in application.routes
    ]
    assert len(of_dashboard) > 25
    return [
        *(one for one in found if one.method != "*"),
        # The server has a first page of its own, and asks for nothing in place of its storage.
        *(one for one in of_dashboard if one.path not in {"/", "/incompatible-rdb-schema"}),
    ]


@dataclass
class Visitor:
    """Somebody who asks for pages, with what they show."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])

    async def asks(self, route: Route, things: Things) -> tuple[int, str]:
        """Status and text of the answer, without the names of those things."""
        async with (
            aiohttp.ClientSession(
                headers={**OURS, **self.headers}, cookies=self.cookies
            ) as session,
            session.request(
                route.method,
                URL(self.url).join(route.of(things)),
                json={"study_name": things.study, **BODY},
                allow_redirects=False,
            ) as answer,
        ):
            text = await answer.text(errors="replace")
            assert answer.headers["X-Content-Type-Options"] == "nosniff", route
            assert answer.headers["X-Frame-Options"] in {"SAMEORIGIN", "DENY"}, route
            assert answer.headers["Referrer-Policy"] == "same-origin", route
        assert base64.b64encode(CONTENT).decode() not in text, route
        assert CONTENT.decode() not in text, route
        for name in (route.of(things).path, things.study, things.batch):
            text = text.replace(name, "?")
        assert "secret" not in text, route
        return answer.status, re.sub(r"\b((?:study|trial)_id=)\d+", r"\1?", text)


def bearer(house: House, token: str) -> Visitor:
    return Visitor(house.app.url, headers={"Authorization": f"Bearer {token}"})


async def browser(house: House, token: str) -> Visitor:
    name, _, value = (await house.cookie(token)).partition("=")
    return Visitor(house.app.url, cookies={name: value})


@pytest.fixture
async def strangers(house: House) -> AsyncIterator[dict[str, Visitor]]:
    """All who show nothing, or nothing that is good for a page."""
    tokens = {
        name: await house.newcomer(name, admin=True) for name in ("expired", "revoked", "disabled")
    }
    sessions = {f"session, {name}": await browser(house, one) for name, one in tokens.items()}
    alice = await house.app.token_of("alice")
    async with connect.Transport(house.app.url, token=alice) as transport:
        beside = await begin_batch(transport, "study-beside")
        past = now() - timedelta(seconds=1)

        def end(session: Any) -> None:
            of = {name: Token.hash == digest(token) for name, token in tokens.items()}
            session.execute(update(Token).values(expires_at=past).where(of["expired"]))
            session.execute(update(User).values(disabled=True).where(User.name == "disabled"))

        async with connect.Transport(house.app.url, token=tokens["revoked"]) as revoked:
            service = stubs.AIAutoServiceClient(revoked)
            await service.delete_token(v1.DeleteTokenRequest())
        await house.app.parts.database.write(end)
        house.app.parts.auth.forget()
        cookie = (await house.cookie(alice)).partition("=")
        theirs = await house.batch_of("bob", admin=True)
        yield {
            "nothing": Visitor(house.app.url),
            "garbage": bearer(house, "garbage"),
            "another scheme": Visitor(house.app.url, headers={"Authorization": f"Basic {alice}"}),
            **{name: bearer(house, token) for name, token in tokens.items()},
            **sessions,
            "session, garbage": Visitor(house.app.url, cookies={cookie[0]: "garbage"}),
            "session, changed": Visitor(house.app.url, cookies={cookie[0]: f"{cookie[2]}0"}),
            "worker": bearer(house, house.worker_token),
            "worker of another batch": bearer(house, await house.worker_of(beside)),
            "enrollment of another user": bearer(
                house, str(await house.app.parts.batches.enrollment.issue_token(theirs))
            ),
            "worker of another user": bearer(house, await house.worker_of(theirs)),
        }
        client = stubs.AIAutoServiceClient(transport)
        await client.delete_study(v1.DeleteStudyRequest(name="study-beside"))
        await client.delete_token(v1.DeleteTokenRequest())


async def test_who_has_no_business_with_any_page(
    house: House, strangers: dict[str, Visitor]
) -> None:
    tried = 0
    for route in routes(house):
        for who, visitor in strangers.items():
            theirs, nothing = [await visitor.asks(route, one) for one in (house.things, NOTHING)]
            assert theirs == nothing, (who, route)
            expected = {200} if route.path == worker_wheel.PATH and "enrollment" in who else REFUSED
            assert route.path in OPEN or theirs[0] in expected, (who, route, theirs)
            tried += 2
    print(f"{tried} requests of {len(strangers)} strangers")


# As they are on the wire: our own client and aiohttp's send no such bytes.
NO_TEXT = (
    {"Authorization": b"Bearer aiauto_\xff"},
    {"Authorization": b"Bearer \xed\xa0\x80"},
    {"Authorization": "Bearer aiauto_é".encode()},
    {"Cookie": b"%s=1.\xff"},
    {"Cookie": b"%s=1.0.0.9.\xff"},
)


async def test_what_is_no_text_lets_nobody_in(house: House) -> None:
    asked = [
        (one.method, one.of(house.things).raw_path_qs, one.path in OPEN) for one in routes(house)
    ]
    asked += [("GET", "/?key=1-%ff", False), ("GET", "/dashboard?key=%ff-%ff", False)]
    asked += [("POST", one.path, False) for one in house.methods if one.kind == StreamKind.UNARY]
    cookie = (await house.cookie(await house.newcomer("grace"))).partition("=")[0].encode()

    def ask(method: str, path: str, headers: Mapping[str, bytes]) -> int:
        sent = {name: value.replace(b"%s", cookie) for name, value in headers.items()}
        sent |= {"Content-Type": b"application/json", "Sec-Fetch-Site": b"same-origin"}
        connection = http.client.HTTPConnection(URL(house.app.url).authority, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, b"{}", sent)
            return connection.getresponse().status

    for method, path, is_open in asked:
        for headers in NO_TEXT:
            status = await asyncio.to_thread(ask, method, path, headers)
            assert status < 500 if is_open else status in REFUSED, (method, path, headers)


@pytest.mark.parametrize("by", ["token", "session"])
@pytest.mark.parametrize("admin", [False, True])
async def test_another_user_finds_nothing_on_any_page(
    house: House,
    by: str,
    admin: bool,  # noqa: FBT001
) -> None:
    for number, route in enumerate(routes(house)):
        answers: list[tuple[int, str]] = []
        # Each page by somebody new, since some make or delete something of their own.
        for things in (house.things, NOTHING):
            name = f"user{number}{'' if things is NOTHING else 'x'}"
            token = await house.newcomer(name, admin=admin)
            visitor = bearer(house, token) if by == "token" else await browser(house, token)
            answers.append(await visitor.asks(route, things))
        if route.path in OF_ADMINS:
            assert {status for status, _ in answers} == {200 if admin and by == "token" else 401}
            continue  # numbers, which change all the time
        assert answers[0] == answers[1], route
        # The dashboard says so of some things that are not there, and nothing more.
        assert answers[0][0] < 500 or answers[0][1] == '{"reason": "internal server error"}', route


async def test_pages_of_who_logs_in_by_an_issuer(lab: Lab) -> None:
    paths = {one.resource.canonical for one in lab.app.app.router.routes() if one.resource}
    assert paths >= OPENID
    # Whatever else there is, is what there is everywhere.
    visitor = lab.visitor()
    for path in OPENID:
        for headers in ({}, {"Authorization": "Bearer garbage"}, {"Cookie": "aiauto=garbage"}):
            async with visitor.http.get(path, headers=headers, allow_redirects=False) as answer:
                assert answer.status == (303 if path == "/login/openid" else 400)
                assert visitor.session_cookie not in answer.cookies
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            async with visitor.http.request(method, path) as answer:
                assert answer.status == 405
    await visitor.log_in()
    # No admin by any means: users are managed by those who hold a token.
    path = "/aiauto.v1.UserService/ListUsers"
    async with visitor.http.post(path, json={}, headers=OUR_PAGE) as answer:
        assert answer.status == 401


async def test_pages_of_other_sites_change_nothing_by_any_page(house: House) -> None:
    """Whatever is no mere question, with the session of Alice herself."""
    alice = await house.app.token_of("alice")
    visitor = await browser(house, alice)
    changing = [one for one in routes(house) if one.method not in {"GET", "HEAD"}]
    assert len(changing) > 12
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        visitor.headers = headers
        for route in changing:
            status, _ = await visitor.asks(route, house.things)
            assert status == 403, route
    async with connect.Transport(house.app.url, token=alice) as transport:
        await stubs.AIAutoServiceClient(transport).delete_token(v1.DeleteTokenRequest())

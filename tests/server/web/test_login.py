"""Getting in, and being kept out."""

from __future__ import annotations

import asyncio
import html
import re
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from aiauto.server.web.sessions import SESSION_SECONDS, LoggedIn
from tests.server.people import FROM_ANOTHER_SITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from tests.server.web.conftest import Site

ADA, BOB, NEWCOMER = 1, 2, 3
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
FORM = {"token": "aiauto_ada", "next": "/dashboard"}


async def studies(browser: aiohttp.ClientSession) -> int:
    """What the dashboard's own requests are answered with."""
    async with browser.get("/api/studies") as answer:
        return answer.status


async def test_a_stranger_meets_a_page_that_says_how_to_get_in(site: Site) -> None:
    async with site.browser().get("/dashboard") as answer:
        assert answer.status == 401
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        text = await answer.text()
    assert "aiauto serve" in text
    assert '<form method="post" action="/login">' in text
    # Nothing is fetched from anywhere, and nothing could be.
    assert "//" not in text.partition("<body>")[2]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("public_url", "host", "is_told"),
    [
        ("https://lab.example", "lab.example", True),
        ("http://lab.example", "lab.example", False),
        # Other programs are at that name, too.
        ("https://lab.example", "localhost", False),
    ],
)
async def test_browsers_that_come_by_https_come_by_nothing_else(
    start_site: Callable[..., Awaitable[Site]], public_url: str, host: str, *, is_told: bool
) -> None:
    site = await start_site(public_url=public_url)
    for path in ("/dashboard", "/api/studies"):
        async with site.browser(Host=host).get(path) as answer:
            assert answer.status == 401
            told = answer.headers.get("Strict-Transport-Security")
            assert told == ("max-age=31536000" if is_told else None)


@pytest.mark.parametrize("path", ["/api/studies", "/static/bundle.js", "/csv/0", "/favicon.ico"])
async def test_a_program_is_told_in_json(site: Site, path: str) -> None:
    async with site.browser(Accept="*/*").get(path) as answer:
        assert answer.status == 401
        assert "Log in first" in (await answer.json())["reason"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_link_logs_in_and_the_key_leaves_the_address(site: Site) -> None:
    browser = site.browser()
    link = URL(site.links.dashboard_url(ADA)).relative() % {"study": "5"}
    async with browser.get(link, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/dashboard?study=5"
        assert answer.headers["Cache-Control"] == "no-store"
        cookie = answer.cookies[site.sessions.cookie_name]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["secure"]
    assert await studies(browser) == 200


async def test_the_key_works_on_the_root_page_too(site: Site) -> None:
    browser = site.browser()
    async with browser.get(f"/?key={site.sessions.key(ADA)}") as answer:
        assert answer.status == 200
        assert answer.url.path_qs == "/"
    assert await studies(browser) == 200


async def test_a_page_of_another_site_logs_nobody_in_unasked(
    start_site: Callable[..., Awaitable[Site]],
) -> None:
    site = await start_site(trust_users=True)
    link = f"/dashboard?study=5&key={site.sessions.key(BOB)}"
    nobody, ada, bob = site.browser(), await site.logged_in(ADA), await site.logged_in(BOB)
    for led_by in ("cross-site", "same-site"):
        led = {"Sec-Fetch-Site": led_by, "Sec-Fetch-Mode": "navigate"}
        for browser in (nobody, ada):
            async with browser.get(link, headers=led) as answer:
                assert answer.status == 200
                assert not answer.cookies
                assert answer.headers["Cache-Control"] == "no-store"
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                page = await answer.text()
            assert "Log in as &lt;b&gt;bob&lt;/b&gt;" in page
        # Whose session it is already, is not asked.
        async with bob.get(link, headers=led, allow_redirects=False) as answer:
            assert answer.status == 303
    form = {name: html.unescape(value) for name, value in HIDDEN.findall(page)}
    for browser in (nobody, ada):
        async with browser.post("/login", data=form, headers=led) as answer:
            assert answer.status == 403
    assert await studies(nobody) == 401
    theirs = [cookie.value for cookie in ada.cookie_jar]
    own = {"Sec-Fetch-Site": "same-origin"}
    wrong = {**form, "key": form["key"] + "x"}
    async with ada.post("/login", data=wrong, headers=own) as answer:
        assert answer.status == 401
        assert "does not log in any more" in await answer.text()
    assert [cookie.value for cookie in ada.cookie_jar] == theirs
    async with ada.post("/login", data=form, headers=own, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/dashboard?study=5"
        session = site.sessions.of_cookie(answer.cookies[site.sessions.cookie_name].value)
    assert session == LoggedIn(BOB)


async def test_links_that_nobody_can_abuse_log_in_unasked(
    start_site: Callable[..., Awaitable[Site]],
) -> None:
    several, one = await start_site(trust_users=True), await start_site()
    # A terminal leads by no page; old browsers say nothing; for one user there is nobody else.
    for site, led in (
        (several, {"Sec-Fetch-Site": "none"}),
        (several, {"Sec-Fetch-Site": "same-origin"}),
        (several, {}),
        (one, {"Sec-Fetch-Site": "cross-site"}),
    ):
        browser = site.browser()
        async with browser.get(
            f"/dashboard?key={site.sessions.key(ADA)}", headers=led, allow_redirects=False
        ) as answer:
            assert answer.status == 303
        assert await studies(browser) == 200


async def test_a_form_with_a_key_is_none_where_links_have_none(
    start_site: Callable[..., Awaitable[Site]],
) -> None:
    site = await start_site(public_url="http://127.0.0.1", trust_users=True)
    form = {"next": "/dashboard", "key": site.sessions.key(ADA)}
    async with site.browser().post(
        "/login", data=form, headers={"Sec-Fetch-Site": "same-origin"}
    ) as answer:
        assert answer.status == 400
        assert not answer.cookies


async def test_a_wrong_key_says_so_and_logs_nobody_in(site: Site) -> None:
    browser = site.browser()
    async with browser.get(f"/dashboard?key={site.sessions.key(ADA)}x") as answer:
        assert answer.status == 401
        assert "does not log in any more" in await answer.text()
    assert await studies(browser) == 401
    # Who is in already stays in, whatever an old bookmark says.
    browser = await site.logged_in(ADA)
    async with browser.get("/dashboard?key=old") as answer:
        assert answer.status == 200


async def test_a_token_logs_in(site: Site) -> None:
    browser = site.browser(Origin=site.links.base_url)
    async with browser.post("/login", data=FORM | {"token": " aiauto_ada\n"}) as answer:
        assert answer.status == 200
        assert answer.url.path == "/dashboard"
        (redirect,) = answer.history
        cookie = redirect.cookies[site.sessions.cookie_name]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert 0 < int(cookie["max-age"]) <= SESSION_SECONDS
    assert not cookie["secure"]
    assert await studies(browser) == 200
    async with browser.post("/logout", allow_redirects=False) as answer:
        assert answer.status == 303
    assert await studies(browser) == 401


@pytest.mark.parametrize("token", ["", "aiauto_nobody", "aiauto_ada2", "<script>"])
async def test_a_wrong_token_does_not(site: Site, token: str) -> None:
    browser = site.browser(Origin=site.links.base_url)
    async with browser.post("/login", data=FORM | {"token": token}) as answer:
        assert answer.status == 401
        text = await answer.text()
    assert "not valid here" in text
    assert not token or token not in text
    assert await studies(browser) == 401


FORM_TYPE = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b"token=aiauto_ada"),
        ("application/json", b'{"token": "aiauto_ada"}'),
        ("text/plain; charset=hex", b"token=aiauto_ada"),
        (FORM_TYPE, b""),
        (FORM_TYPE, b"next=/dashboard"),
        (FORM_TYPE, b"token=\xff"),
        (FORM_TYPE, b"token=%ff"),
        (FORM_TYPE, b"token=%ed%a0%80"),
        (FORM_TYPE, b"token=aiauto_ada" + b"&a=b" * 100),
        (f"{FORM_TYPE}; charset=utf-16", "token=aiauto_ada".encode("utf-16")),
        ("multipart/form-data", b"--x--"),
        (MULTIPART, b"garbage"),
        (MULTIPART, b"--x\r\n\r\naiauto_ada\r\n--x--\r\n"),
        (MULTIPART, b"--x\r\nContent-Transfer-Encoding: odd\r\n\r\naiauto_ada\r\n--x--\r\n"),
    ],
)
async def test_what_does_not_come_from_the_form(site: Site, content_type: str, body: bytes) -> None:
    browser = site.browser(Origin=site.links.base_url)
    headers = {"Content-Type": content_type}
    async with browser.post("/login", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "could not read" in await answer.text()
    headers["Accept-Language"] = "ko"
    async with browser.post("/login", data=body, headers=headers) as answer:
        assert "읽을 수 없습니다" in await answer.text()
    assert await studies(browser) == 401


@pytest.mark.parametrize("charset", ["hex", "no-such", "utf-7", "utf-16"])
async def test_the_form_is_read_by_no_other_charset(site: Site, charset: str) -> None:
    """Browsers send it in that of the page, whatever a request says."""
    browser = site.browser(Origin=site.links.base_url)
    headers = {"Content-Type": f"{FORM_TYPE}; charset={charset}"}
    async with browser.post("/login", data=b"token=aiauto_ada", headers=headers) as answer:
        assert answer.status == 200
    assert await studies(browser) == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_form_that_is_not_compressed_as_it_says(site: Site, encoding: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.settings.port)
    writer.write(
        f"POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
        f"Content-Type: {FORM_TYPE}\r\nContent-Encoding: {encoding}\r\n"
        "Content-Length: 7\r\n\r\ntoken=x".encode()
    )
    assert (await reader.readuntil(b"\r\n")).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


async def test_a_form_that_is_too_big_is_not_read(site: Site) -> None:
    browser = site.browser(Origin=site.links.base_url)
    async with browser.post("/login", data={"token": "x" * 100_000}) as answer:
        assert answer.status == 413


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "",
        "/\r\nX: y",
    ],
)
async def test_logging_in_leads_nobody_astray(site: Site, target: str) -> None:
    browser = site.browser(Origin=site.links.base_url)
    async with browser.post(
        "/login", data=FORM | {"next": target}, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"] == "/"


async def test_a_request_for_another_server_leads_nobody_astray(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.settings.port)
    key = site.sessions.key(ADA)
    for target in ("http://evil.example/dashboard", "http://evil.example/"):
        writer.write(f"GET {target}?key={key} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "303" in head
        assert "evil" not in head
    writer.close()
    await writer.wait_closed()


async def test_a_bearer_token_serves_programs(site: Site) -> None:
    assert await studies(site.browser(Authorization="Bearer aiauto_ada")) == 200
    assert await studies(site.browser(Authorization="Bearer aiauto_nobody")) == 401
    # A bad token is not made good by a cookie.
    browser = await site.logged_in(ADA)
    async with browser.get("/api/studies", headers={"Authorization": "Bearer x"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("headers", FROM_ANOTHER_SITE)
async def test_another_sites_page_changes_nothing(site: Site, headers: dict[str, str]) -> None:
    browser = await site.logged_in(ADA)
    study = {"study_name": "theirs", "directions": ["minimize"]}
    async with browser.post("/api/studies", json=study, headers=headers) as answer:
        assert answer.status == 403
    for path in ("/login", "/logout"):
        async with browser.post(path, data=FORM, headers=headers) as answer:
            assert answer.status == 403
    assert site.storages[10 * ADA].get_all_studies() == []
    assert await studies(browser) == 200


@pytest.mark.parametrize("name", ["Origin", "Sec-Fetch-Site"])
async def test_our_own_page_may(site: Site, name: str) -> None:
    browser = await site.logged_in(ADA)
    headers = {name: site.links.base_url if name == "Origin" else "same-origin"}
    study = {"study_name": "ours", "directions": ["minimize"]}
    async with browser.post("/api/studies", json=study, headers=headers) as answer:
        assert answer.status == 201


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 401),
        ("127.0.0.1", 401),
        ("[::1]:80", 401),
        ("lab.example", 401),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.168.0.7", 421),
        ("[", 421),
        ("", 421),
    ],
)
async def test_only_our_own_names_are_answered(
    start_site: Callable[..., Awaitable[Site]], host: str, status: int
) -> None:
    site = await start_site(allowed_hosts=("LAB.example",))
    async with site.browser().get("/", headers={"Host": host}, allow_redirects=False) as answer:
        assert answer.status == status
        if status == 421:
            assert "AIAUTO_ALLOWED_HOSTS" in await answer.text()


async def test_off_loopback_links_carry_no_key_and_keys_do_nothing(
    start_site: Callable[..., Awaitable[Site]],
) -> None:
    site = await start_site(host="0.0.0.0", plain_http=True)  # noqa: S104
    assert site.links.dashboard_url(ADA) == f"{site.links.base_url}/dashboard"
    browser = site.browser(Host="lab.example")
    async with browser.get(f"/dashboard?key={site.sessions.key(ADA)}") as answer:
        assert answer.status == 401
        assert "dashboard_url" not in await answer.text()
    assert await studies(browser) == 401
    # A token is what lets people in there.
    own = {"Host": "lab.example", "Origin": "http://lab.example"}
    async with browser.post("/login", data=FORM, headers=own, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/dashboard")
        cookie = answer.cookies[site.sessions.cookie_name]
    # The jar of cookies goes by the address, and not by the name that is asked for.
    session = {"Cookie": f"{cookie.key}={cookie.value}"}
    assert await studies(site.browser(Host="lab.example", **session)) == 200


async def test_behind_https_the_cookie_is_secure(
    start_site: Callable[..., Awaitable[Site]],
) -> None:
    site = await start_site(public_url="https://lab.example/")
    assert site.links.dashboard_url(ADA) == "https://lab.example/dashboard"
    browser = site.browser(Host="lab.example", Origin="https://lab.example")
    async with browser.post("/login", data=FORM, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.cookies[site.sessions.cookie_name]["secure"]


async def test_pages_are_not_framed_or_sniffed(site: Site) -> None:
    for path in ("/dashboard", "/nowhere"):
        async with site.browser().get(path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
            assert answer.headers["Referrer-Policy"] == "same-origin"


async def test_a_user_without_a_workspace_is_told_what_to_do(site: Site) -> None:
    browser = site.browser(Authorization="Bearer aiauto_newcomer")
    async with browser.get("/dashboard") as answer:
        assert answer.status == 404
        assert "AIAutoController" in await answer.text()
    async with browser.get("/api/studies/0/param_importances") as answer:
        assert answer.status == 404

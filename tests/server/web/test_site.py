"""The pages and what they are made of, as a browser is sent them."""

from __future__ import annotations

import gzip
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiauto.connect import Code
from aiauto.server import executors
from aiauto.server.batches import leases
from aiauto.server.batches.stopping import StopReason
from aiauto.server.batches.workers import LEFT_ITS_TRIAL, OUT_OF_MEMORY
from aiauto.server.executors.ends import End
from aiauto.server.web.site import PATHS, POLICY

if TYPE_CHECKING:
    from tests.server.web.conftest import Site

ADA, NEWCOMER = 1, 3
ASSETS = resources.files("aiauto.server.web") / "assets"
EXECUTORS = Path(executors.__file__).parent
MAX_BYTES = 120_000


def sources() -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in ("", "pages/", "texts/"):
        for one in ASSETS.joinpath(folder).iterdir():
            if one.is_file():
                found[folder + one.name] = one.read_text(encoding="utf-8")
    # Of the package as it is installed: where the tests run on the wheel, that has them.
    assert {"app.js", "style.css", "pages/batch.js", "texts/ko.js"} <= found.keys()
    return found


async def addresses(site: Site) -> list[str]:
    """What the shell names."""
    browser = await site.logged_in(ADA)
    async with browser.get("/") as answer:
        return re.findall(r'(?:href|src)="([^"]+)"', await answer.text())


@pytest.mark.parametrize("path", [path.replace("{name}", "any-name") for path in PATHS])
async def test_every_page(site: Site, path: str) -> None:
    async with site.browser().get(path) as answer:
        assert answer.status == 401
        assert f'name="next" value="{path}"' in await answer.text()
    browser = await site.logged_in(ADA)
    async with browser.get(path) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert policy == POLICY
        assert answer.headers["X-Frame-Options"] == "DENY"
        text = await answer.text()
        tag = answer.headers["ETag"]
    assert "unsafe" not in policy
    # The policy would refuse them, and nobody would notice but by a page that stays empty.
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text)
    async with browser.get(path, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with browser.post(path, headers={"Sec-Fetch-Site": "same-origin"}) as answer:
        assert answer.status == 405


async def test_who_has_no_workspace_sees_pages_too(site: Site) -> None:
    browser = site.browser(Authorization="Bearer aiauto_newcomer")
    async with browser.get("/") as answer:
        assert answer.status == 200


async def test_assets_are_kept_for_ever_under_their_digest(site: Site) -> None:
    anybody = site.browser()
    found = await addresses(site)
    assert {one.rpartition("/")[2] for one in found} == {"icon.svg", "style.css", "app.js"}
    digest = found[0].split("/")[2]
    for path, text in sources().items():
        address = f"/assets/{digest}/{path}"
        async with anybody.get(address, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["Content-Encoding"] == "gzip"
            assert await answer.text() == text
            tag = answer.headers["ETag"]
        async with anybody.get(address, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        async with anybody.get(address, headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.read() == text.encode()


@pytest.mark.parametrize(
    "path",
    ["0/app.js", "{}/nothing.js", "{}/../site.py", "{}/%2e%2e/site.py", "{}/pages", "{}/", "{}"],
)
async def test_nothing_else_is_there(site: Site, path: str) -> None:
    digest = (await addresses(site))[0].split("/")[2]
    async with site.browser().get(f"/assets/{path.format(digest)}") as answer:
        assert answer.status == 404


def test_they_are_small_and_come_from_nowhere_else() -> None:
    found = sources()
    assert sum(len(gzip.compress(text.encode())) for text in found.values()) < 41_000
    assert sum(map(len, found.values())) < MAX_BYTES
    for path, text in found.items():
        addresses_in_it = set(re.findall(r"https?://[^\s\"'`)]+", text))
        # A name of markup, and where a protocol is described: nothing asks for them.
        assert addresses_in_it <= {
            "http://www.w3.org/2000/svg",
            "https://connectrpc.com/docs/protocol",
        }, path
        if path.endswith(".js"):
            assert len(text.splitlines()) <= 300, path
            # What could make text into markup or code.
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function",
                text,
            ), path


def texts_in(language: str) -> dict[str, str]:
    source = sources()[f"texts/{language}.js"]
    return dict(re.findall(r'^  "?([\w.]+)"?: "(.*)",$', source, re.MULTILINE))


def test_both_languages_have_every_text() -> None:
    found = sources()
    texts = {language: texts_in(language) for language in ("en", "ko")}
    assert len(texts["en"]) > 150
    assert texts["en"].keys() == texts["ko"].keys()
    for name, text in texts["en"].items():
        places = set(re.findall(r"\{\w+\}", text))
        assert set(re.findall(r"\{\w+\}", texts["ko"][name])) == places, name
    code = "".join(text for path, text in found.items() if not path.startswith("texts/"))
    assert set(re.findall(r'\bt\("(\w+)"', code)) <= texts["en"].keys()
    # Each is used: by its name, or as one of a kind.
    kinds = ("phase.", "trial.", "reason.", "worker.", "direction.", "error.")
    for name in texts["en"]:
        assert name.startswith(kinds) or re.search(rf'"{name}"', code), name


def test_every_error_has_a_sentence() -> None:
    words = {name for name in texts_in("en") if name.startswith("error.")}
    assert words == {f"error.{code.value}" for code in Code}


def test_why_something_ended_is_said_in_words() -> None:
    words = texts_in("en").keys()
    assert {f"reason.{one.value}" for one in [*leases.Reason, *StopReason]} <= words
    # Why a worker ended: what the system says of its process, and what executors say.
    known = {End(code).reason for code in (None, 0, 1, -9)} | {OUT_OF_MEMORY, LEFT_ITS_TRIAL}
    code = "".join(path.read_text(encoding="utf-8") for path in EXECUTORS.rglob("*.py"))
    said = set(re.findall(r'(?:reason=|stop\w*\(|unstarted\()"([A-Z]\w+)"', code))
    assert {"Lost", "StartFailed", "BatchOver", "Evicted"} <= said
    assert {f"worker.{one}" for one in known | said} == {
        name for name in words if name.startswith("worker.")
    }


@pytest.mark.parametrize(
    ("preferred", "title"),
    [
        ("ko-KR,ko;q=0.9,en;q=0.8", "로그인"),
        ("fr,ko;q=0.5", "로그인"),
        ("en-GB,ko", "Log in"),
        ("fr", "Log in"),
        ("", "Log in"),
        (";,-;q=x", "Log in"),
    ],
)
async def test_the_way_in_speaks_the_language_of_the_browser(
    site: Site, preferred: str, title: str
) -> None:
    headers = {"Accept-Language": preferred, "Origin": site.links.base_url}
    browser = site.browser(**headers)
    async with browser.get("/") as answer:
        text = await answer.text()
    assert f"<h1>{title}</h1>" in text
    assert f'<html lang="{"ko" if title == "로그인" else "en"}">' in text
    async with browser.post("/login", data={"token": "aiauto_nobody"}) as answer:
        text = await answer.text()
    assert ("유효하지 않은 토큰" if title == "로그인" else "not valid here") in text

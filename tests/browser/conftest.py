"""A real browser on the pages of a real server: Debian's Chromium, or the one that is named."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

    from aiauto.testing import EmbeddedServer

VARIABLE = "AIAUTO_TEST_CHROMIUM"
SCREENSHOTS_VARIABLE = "AIAUTO_TEST_SCREENSHOTS"
# Before the variables of the project are taken away from tests.
CHROMIUM = os.environ.get(VARIABLE) or shutil.which("chromium")
SCREENSHOTS = os.environ.get(SCREENSHOTS_VARIABLE)
ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 45_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One browser at a time: more would wait for each other's processor."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.once)


# For a module, and not for the session: its event loop would be in the way of other tests.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    if CHROMIUM is None:
        pytest.skip(f"there is no Chromium here: install it, or name one by {VARIABLE}")
    # Its sandbox refuses to work for root.
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, *sandbox], headless=True
        )
        yield browser
        browser.close()


class Visitor:
    """Somebody at a browser of their own.

    Attributes:
        page: What they see.
        url: The server's address, as they know it.
        also: Addresses that they may be led to besides the server's.
    """

    def __init__(self, context: BrowserContext, server: EmbeddedServer, url: str) -> None:
        self.server = server
        self.url = url
        self.also: list[str] = []
        self.page: Page = context.new_page()
        self._requests: list[str] = []
        self._calls: list[str] = []
        self._complaints: list[str] = []
        context.on("request", self._note_request)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self._complaints.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        # That somebody is not logged in yet, or that a server is away, a browser calls an error.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._complaints.append(message.text)

    def _note_request(self, request: Request) -> None:
        self._requests.append(request.url)
        # Optuna's dashboard has an API of its own.
        if request.resource_type in {"fetch", "xhr"} and "/dashboard" not in request.frame.url:
            self._calls.append(request.url)

    def log_in(self, token: str | None = None, *, path: str = "/") -> None:
        """By the form, as people do."""
        self.page.goto(path)
        self.page.locator("input[type=password]").fill(token or self.server.token)
        self.page.locator("button").click()
        self.page.locator("main#main h1").wait_for()

    def check(self) -> None:
        """Only the server was asked, only by the SDK's own calls, and nothing went wrong."""
        assert self._requests
        ours = (f"{self.url}/", "data:", f"blob:{self.url}/", *self.also)
        elsewhere = [url for url in self._requests if not url.startswith(ours)]
        assert elsewhere == []
        rpc = re.compile(rf"{self.url}/aiauto\.v1\.\w+/\w+")
        assert [url for url in self._calls if not rpc.fullmatch(url)] == []
        assert self._complaints == []


@pytest.fixture
def new_visitor(chromium: Browser, server: EmbeddedServer) -> Iterator[Callable[..., Visitor]]:
    """Opens another browser, with the arguments of `Browser.new_context`, on `server`.

    With `url`, by this way to it.
    """
    made: list[tuple[BrowserContext, Visitor]] = []

    def open_(server: EmbeddedServer = server, url: str | None = None, **given: Any) -> Visitor:
        given.setdefault("locale", "en-GB")
        url = url or server.url
        context = chromium.new_context(base_url=url, **given)
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(context, server, url)
        made.append((context, visitor))
        return visitor

    yield open_
    for context, visitor in made:
        visitor.check()
        context.close()


@pytest.fixture
def visitor(new_visitor: Callable[..., Visitor]) -> Visitor:
    """Somebody who is logged in, and sees the overview."""
    visitor = new_visitor()
    visitor.log_in()
    return visitor


@pytest.fixture(scope="session")
def screenshots(pytestconfig: pytest.Config) -> Path:
    """Where pictures of the pages are left for people to look at."""
    folder = Path(SCREENSHOTS) if SCREENSHOTS else pytestconfig.rootpath / "build/screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

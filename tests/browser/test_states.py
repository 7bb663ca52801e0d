"""What pages show where something is wrong, missing or under way, in Korean, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

import aiauto
from tests.browser.test_looks import DESKTOP, judge, look, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor


def test_each_can_be_read_by_everybody(
    own_server: EmbeddedServer,
    new_visitor: Callable[..., Visitor],
    screenshots: Path,
    tmp_path: Path,
) -> None:
    own_server.data_dir.mkdir()
    own_server.start()
    visitor = new_visitor(own_server, **DESKTOP, locale="ko-KR")
    page = visitor.page

    def see(state: str) -> None:
        page.emulate_media(color_scheme="light")
        assert judge(page, "color-contrast") == [], state
        page.emulate_media(color_scheme="dark")
        look(page, screenshots / f"dark-korean-{state}.png")

    page.goto("/login")
    page.locator("input[type=password]").fill("aiauto_of_nobody")
    page.locator("button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    see("login-refused")

    # Nothing is there, not even a workspace.
    visitor.log_in()
    for name, path in (("overview", "/"), ("studies", "/study"), ("batches", "/trialbatch")):
        page.goto(path)
        settle(page)
        see(f"no-{name}")
    page.goto("/workspace")
    expect(page.locator("pre")).to_be_visible()
    see("no-workspace")

    # A workspace and a study, and nothing in them.
    aiauto.AIAutoController().create_study("empty")
    page.goto("/study/empty")
    settle(page)
    expect(page.locator(".empty:visible")).to_have_count(2)
    see("no-trials")
    page.locator(".heading .danger").click()
    expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    see("dialog-typed")
    page.goto("/token")
    settle(page)
    page.locator("form .primary").click()
    expect(page.locator("[data-token]")).to_be_visible()
    see("token-issued")
    page.get_by_role("row").last.get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    see("dialog")

    see_files(page, see, tmp_path)
    see_errors(page, see)


def see_files(page: Page, see: Callable[[str], None], folder: Path) -> None:
    """One that is sent, one that was stopped, one that is refused, and one that is there."""
    page.goto("/workspace")
    expect(page.locator(".empty")).to_be_visible()
    (folder / "weights.bin").touch()
    (folder / "model.bin").write_bytes(b"model")
    files = page.locator("input[type=file]")
    send = page.locator("form .primary")
    # A part that never gets through.
    page.route("**/WriteUpload", lambda _: None)
    files.set_input_files(folder / "model.bin")
    send.click()
    expect(page.locator(".uploads .sum")).to_have_text("10 %")
    see("upload")
    page.locator(".uploads button").click()
    expect(page.locator(".uploads").get_by_role("alert")).to_be_visible()
    files.set_input_files(folder / "weights.bin")
    page.locator("input[placeholder=datasets]").fill("..")
    send.click()
    refused = page.locator(".uploads details")
    refused.locator("summary").click()
    expect(refused.locator("pre")).to_be_visible()
    files.set_input_files(folder / "weights.bin")
    send.click()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(2)
    see("uploads-ended")
    page.unroute("**/WriteUpload")


def see_errors(page: Page, see: Callable[[str], None]) -> None:
    """Of an address, of the way to the server, and of a session that is over."""
    notice = page.get_by_role("alert")
    for path in ("/trialbatch/nowhere", "/study/nowhere"):
        page.goto(path)
        expect(notice).to_be_visible()
        # Of what is not there nothing is shown that is empty, or goes on loading.
        expect(page.locator("main section:visible, main button:visible")).to_have_count(0)
    notice.locator("summary").click()
    expect(notice.locator("pre")).to_be_visible()
    see("error")
    # One edge on the left, from the top to the bottom.
    places = (".brand", ".notice details", "main h1")
    edges = [
        page.locator(place).evaluate("one => one.getBoundingClientRect().x") for place in places
    ]
    assert len(set(edges)) == 1, edges
    page.goto("/study")
    settle(page)
    page.context.set_offline(True)
    expect(notice).to_be_visible()
    see("no-server")
    page.context.set_offline(False)
    expect(notice).to_be_hidden()
    page.context.clear_cookies()
    expect(notice.get_by_role("link")).to_be_visible()
    see("logged-out")

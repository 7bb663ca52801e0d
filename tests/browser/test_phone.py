"""The main ways on a phone, by taps alone; and no page is wider than its window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.objectives import failing_first
from tests.browser.test_looks import GUISES, judge, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    import aiauto
    from aiauto.testing import EmbeddedServer
    from tests.browser.conftest import Visitor

# The narrowest window that pages are made for: WCAG 2.2, 1.4.10.
SMALL = {**GUISES["phone"], "viewport": {"width": 320, "height": 568}}
LONGEST_NAME = 63


def check(page: Page) -> None:
    """Nobody has to scroll sideways, and what is to be tapped can be hit."""
    settle(page)
    width = page.evaluate("document.scrollingElement.scrollWidth")
    assert width <= SMALL["viewport"]["width"], page.url
    assert judge(page, "target-size") == [], page.url


def check_dialog(dialog: Locator) -> None:
    """A question is within the window, all of it."""
    box = dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= SMALL["viewport"]["width"]
    assert box["y"] + box["height"] <= SMALL["viewport"]["height"]


def test_from_the_way_in_to_a_batch_that_is_cancelled(
    controller: aiauto.AIAutoController,
    new_visitor: Callable[..., Visitor],
    server: EmbeddedServer,
    study_name: str,
    tmp_path: Path,
) -> None:
    study_name = study_name.ljust(LONGEST_NAME, "x")
    study = controller.create_study(study_name, direction="minimize")
    name = study.optimize(failing_first(tmp_path), n_trials=3, parallelism=1, wait_option="WAIT_NO")
    (tmp_path / "0").touch()
    page = new_visitor(**SMALL).page
    page.goto("/")
    page.get_by_label("token").tap()
    page.keyboard.insert_text(server.token)
    page.get_by_role("button", name="Log in").tap()

    navigation = page.get_by_role("navigation", name="Pages")
    for place in ("Overview", "Batches", "Workspace", "Tokens", "Studies"):
        navigation.get_by_role("link", name=place).tap()
        expect(page.get_by_role("heading", level=1)).to_have_text(place)
        check(page)
    page.get_by_role("link", name=study_name).tap()
    check(page)
    page.get_by_text("Traceback", exact=True).tap()
    expect(page.locator(".under pre")).to_contain_text("the model exploded")
    check(page)
    page.get_by_role("button", name="Delete study").tap()
    dialog = page.get_by_role("dialog")
    check_dialog(dialog)
    dialog.get_by_role("button", name="Leave it").tap()
    expect(dialog).to_have_count(0)

    page.get_by_role("link", name=name).tap()
    expect(page.locator(".path")).to_contain_text(study_name)
    check(page)
    page.get_by_role("button", name="Log of trial 0").tap()
    expect(page.get_by_role("log")).to_contain_text("#0 trial 0 goes on")
    check(page)
    page.get_by_text("What workers print").tap()
    expect(page.get_by_role("log")).to_be_hidden()
    cancel = page.get_by_role("button", name="Cancel batch")
    cancel.tap()
    check_dialog(dialog)
    dialog.get_by_role("button", name="Leave it").tap()
    expect(dialog).to_have_count(0)
    assert study.get_status()["count_active"] == 1
    cancel.tap()
    dialog.get_by_role("button", name="Cancel batch").tap()
    expect(page.locator(".heading .badge")).to_have_text("failed")
    check(page)
